"""Checks files as onnx does, with strict shape inference: python3 test/onnx/check.py FILE… prints one line a file that fails."""
import sys

import onnx

failed = 0
for path in sys.argv[1:]:
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        known = {v.name: v for v in inferred.graph.value_info}
        # what the file declares of new values is what onnx infers without being told
        bare = onnx.ModelProto()
        bare.CopyFrom(model)
        del bare.graph.value_info[:]
        for v in onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True).graph.value_info:
            if v.name in known:
                told, found = (
                    [d.dim_value if d.HasField("dim_value") else None for d in x.type.tensor_type.shape.dim]
                    for x in (known[v.name], v)
                )
                if len(told) != len(found) or any(a is not None and b is not None and a != b for a, b in zip(told, found)):
                    raise ValueError(f"{v.name} is declared as {told}, and is {found}")
    except Exception as error:
        failed += 1
        print(path, str(error).splitlines()[0])
sys.exit(failed > 0)
