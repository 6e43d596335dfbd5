"""Makes the files in fixtures/: python3 test/onnx/fixtures.py (made with onnx 1.23, onnxruntime 1.32, numpy 2.4).

Each model is checked by onnx.checker with shape inference. shapes.json has the shapes that onnx infers, with batch sizes as
the models have them; outputs.json the outputs of onnxruntime for inputs that are sin(0.37·k) for the k-th entry.
"""
import json
import os

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")
rng = np.random.default_rng(7)
SHAPES, OUTPUTS = {}, {}


def random(*shape, dtype=np.float32):
    return (rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype(dtype)


class Graph:
    def __init__(self):
        self.nodes, self.inits, self.inputs, self.outputs = [], [], [], []

    def input(self, name, shape, dtype=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def weight(self, name, array):
        self.inits.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op, inputs, output, **attributes):
        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0] + "_node", **attributes))
        return outputs[0]

    def output(self, name, dtype=TensorProto.FLOAT):
        self.outputs.append(helper.make_tensor_value_info(name, dtype, None))

    def save(self, file, opset=17, ir=8, infer=True, run=True, check=True, external=None, **more):
        graph = helper.make_graph(self.nodes, file, self.inputs, self.outputs, self.inits)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), *more.get("opsets", [])],
                                  ir_version=ir, producer_name="fixtures.py")
        helper.set_model_props(model, {"author": "tenfold", "note": "made by fixtures.py"})
        finish(model, file, infer, run, check, external)


def finish(model, file, infer=True, run=True, check=True, external=None):
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True) if infer else model
    if infer:
        infos = [*inferred.graph.value_info, *inferred.graph.output]
        SHAPES[file] = {v.name: [d.dim_value if d.HasField("dim_value") else None for d in v.type.tensor_type.shape.dim]
                        for v in infos if v.type.tensor_type.HasField("shape")}
        for out in model.graph.output:  # outputs are declared, as exporters do
            out.CopyFrom(next(v for v in inferred.graph.output if v.name == out.name))
            if not out.type.tensor_type.HasField("shape"):
                print(file, "has no shape of", out.name)
    if check:
        onnx.checker.check_model(model, full_check=True)
    path = os.path.join(FOLDER, file)
    if external:
        onnx.save(model, path, save_as_external_data=True, location=external, size_threshold=64)
    else:
        onnx.save(model, path)
    if run:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        feeds = {i.name: signal([d or 2 if isinstance(d, int) else 2 for d in i.shape], i.type) for i in session.get_inputs()}
        names = [o.name for o in session.get_outputs()]
        OUTPUTS[file] = {name: {"shape": list(value.shape), "sum": float(np.sum(value.astype(np.float64))),
                                "norm": float(np.linalg.norm(value.astype(np.float64)))}
                         for name, value in zip(names, session.run(names, feeds))}


def signal(shape, kind):
    values = np.sin(0.37 * np.arange(int(np.prod(shape)))).reshape(shape)
    return values.astype({"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
                          "tensor(bool)": bool, "tensor(int64)": np.int64}[kind])


def convolutions():
    """Every variant of Conv as a branch of its own."""
    g = Graph()
    x1, x2, x3 = g.input("x1", [2, 6, 13]), g.input("x2", [2, 6, 11, 9]), g.input("x3", [1, 4, 5, 6, 7])

    def conv(name, x, weight, bias=True, **attributes):
        inputs = [x, g.weight(name + "_w", random(*weight))]
        if bias:
            inputs.append(g.weight(name + "_b", random(weight[0])))
        g.output(g.node("Conv", inputs, name, **attributes))

    conv("plain", x2, (8, 6, 3, 3))
    conv("nobias", x2, (8, 6, 3, 3), bias=False, kernel_shape=[3, 3])
    conv("asymmetric", x2, (8, 6, 3, 2), pads=[1, 0, 2, 1])
    conv("strided", x2, (5, 6, 3, 3), strides=[2, 3], pads=[1, 1, 1, 1])
    conv("dilated", x2, (8, 6, 3, 3), dilations=[2, 3], pads=[2, 3, 2, 3])
    conv("same_upper", x2, (8, 6, 3, 4), auto_pad="SAME_UPPER", strides=[2, 2])
    conv("same_lower", x2, (8, 6, 2, 3), auto_pad="SAME_LOWER", strides=[1, 2])
    conv("valid", x2, (8, 6, 3, 3), auto_pad="VALID", strides=[2, 1])
    conv("grouped", x2, (8, 3, 3, 3), group=2, pads=[1, 1, 1, 1], strides=[1, 2])
    conv("three_groups", x2, (9, 2, 1, 3), group=3)
    conv("depthwise", x2, (6, 1, 3, 3), group=6)
    conv("pointwise", x2, (10, 6, 1, 1))
    conv("pointwise_padded", x2, (10, 6, 1, 1), pads=[1, 2, 0, 1], strides=[2, 2])
    conv("tall", x2, (7, 6, 5, 1), pads=[2, 0, 2, 0])
    conv("one_dimension", x1, (8, 6, 4), strides=[2], pads=[1, 2], dilations=[2])
    conv("one_same", x1, (4, 3, 5), auto_pad="SAME_UPPER", strides=[3], group=2)
    conv("one_pointwise", x1, (5, 6, 1))
    conv("three", x3, (5, 4, 2, 3, 3), strides=[1, 2, 1], pads=[1, 0, 1, 0, 1, 2], dilations=[2, 1, 1])
    conv("three_same", x3, (4, 2, 3, 2, 3), auto_pad="SAME_LOWER", group=2)
    g.save("convolutions.onnx")


def transposed():
    g = Graph()
    x1, x2, x3 = g.input("x1", [2, 6, 7]), g.input("x2", [2, 6, 5, 4]), g.input("x3", [1, 4, 3, 4, 3])

    def conv(name, x, weight, group=1, bias=True, **attributes):
        inputs = [x, g.weight(name + "_w", random(*weight))]
        if bias:
            inputs.append(g.weight(name + "_b", random(weight[1] * group)))
        g.output(g.node("ConvTranspose", inputs, name, group=group, **attributes))

    conv("up", x2, (6, 5, 3, 3), strides=[2, 3], pads=[1, 0, 0, 1], output_padding=[1, 2])
    conv("up_nobias", x2, (6, 5, 2, 2), strides=[2, 2], bias=False)
    conv("up_groups", x2, (6, 4, 3, 2), group=2, strides=[2, 1], dilations=[2, 1])
    conv("up_same", x2, (6, 5, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")
    conv("up_shape", x2, (6, 5, 3, 3), strides=[2, 2], output_shape=[10, 8])
    conv("up_one", x1, (6, 4, 4), strides=[2], pads=[1, 1])
    conv("up_three", x3, (4, 3, 2, 3, 2), strides=[2, 1, 2], pads=[0, 1, 0, 0, 1, 1])
    g.save("transposed.onnx")


def products():
    """Gemm and MatMul in all their flags and sides."""
    g = Graph()
    rows, turned = g.input("rows", [5, 6]), g.input("turned", [6, 5])
    stack, wide = g.input("stack", [2, 3, 4, 6]), g.input("wide", [2, 6, 5])

    def gemm(name, a, b, c=None, **attributes):
        inputs = [a, b] + ([g.weight(name + "_c", random(*c))] if c else [])
        g.output(g.node("Gemm", inputs, name, **attributes))

    def w(name, *shape):
        return g.weight(name + "_w", random(*shape))

    gemm("gemm", rows, w("gemm", 6, 7), (7,))
    gemm("gemm_nobias", rows, w("gemm_nobias", 6, 7))
    gemm("gemm_b", rows, w("gemm_b", 7, 6), (1, 7), transB=1, alpha=0.5, beta=2.0)
    gemm("gemm_a", turned, w("gemm_a", 6, 7), (1,), transA=1, alpha=-1.5)
    gemm("gemm_ab", turned, w("gemm_ab", 7, 6), (7,), transA=1, transB=1, beta=0.25)
    gemm("gemm_rows", rows, w("gemm_rows", 6, 7), (5, 7))
    gemm("gemm_left", w("gemm_left", 7, 6), turned, (7, 1), alpha=2.0)
    gemm("gemm_left_ab", w("gemm_left_ab", 6, 7), rows, None, transA=1, transB=1)
    g.output(g.node("MatMul", [stack, w("matmul", 6, 7)], "matmul"))
    g.node("MatMul", [stack, w("matmul_bias", 6, 7)], "matmul_product")
    g.output(g.node("Add", [g.weight("matmul_bias_b", random(7)), "matmul_product"], "matmul_bias"))
    g.output(g.node("MatMul", [w("matmul_left", 7, 6), wide], "matmul_left"))
    g.node("MatMul", [w("left_bias", 7, 6), wide], "left_product")
    g.output(g.node("Add", ["left_product", g.weight("left_bias_b", random(7, 1))], "left_bias"))
    g.output(g.node("MatMul", [w("left_vector", 7, 6), g.input("vector", [6])], "left_vector"))
    g.output(g.node("MatMul", [wide, g.weight("batched_w", random(2, 5, 4))], "batched"))
    g.save("products.onnx")


def transformer():
    """An attention block as exporters write it, with a batch and a length that are open."""
    g, d, heads = Graph(), 16, 2
    tokens = g.input("tokens", ["batch", "length"], TensorProto.INT64)
    g.weight("embedding", random(20, d))
    x = g.node("Gather", ["embedding", tokens], "embedded")
    g.weight("axes", np.array([-1]))
    normed = g.node("LayerNormalization", [x, g.weight("ln_g", 1 + random(d)), g.weight("ln_b", random(d))], "normed")
    g.weight("split_heads", np.array([0, 0, heads, d // heads]))
    g.weight("merge_heads", np.array([0, 0, -1]))
    parts = []
    for name in "qkv":
        g.node("MatMul", [normed, g.weight(name + "_w", random(d, d))], name + "_product")
        g.node("Add", [name + "_product", g.weight(name + "_b", random(d))], name)
        g.node("Reshape", [name, "split_heads"], name + "_heads")
        parts.append(g.node("Transpose", [name + "_heads"], name + "_turned", perm=[0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]))
    g.node("MatMul", [parts[0], parts[1]], "scores")
    g.node("Softmax", ["scores"], "weights", axis=-1)
    g.node("MatMul", ["weights", parts[2]], "mixed")
    g.node("Transpose", ["mixed"], "mixed_turned", perm=[0, 2, 1, 3])
    g.node("Reshape", ["mixed_turned", "merge_heads"], "merged")
    g.node("MatMul", ["merged", g.weight("o_w", random(d, d))], "o_product")
    g.node("Add", ["o_product", x], "attended")
    g.node("MatMul", ["attended", g.weight("up_w", random(d, 4 * d))], "up_product")
    g.node("Add", [g.weight("up_b", random(4 * d)), "up_product"], "up")
    g.node("Relu", ["up"], "active")
    g.node("MatMul", ["active", g.weight("down_w", random(4 * d, d))], "down")
    g.node("Transpose", ["embedding"], "tied", perm=[1, 0])
    g.output(g.node("MatMul", ["down", "tied"], "logits"))
    g.nodes[-1].doc_string = "the embedding again"
    g.save("transformer.onnx", run=False)


def normalised():
    """What can be folded, and what only looks so."""
    g = Graph()
    x, r = g.input("x", [2, 4, 9, 9]), g.input("r", [3, 6])

    def constants(name, n):
        return [g.weight(f"{name}_{k}", v) for k, v in (("g", 1 + 0.3 * random(n)), ("b", random(n)), ("m", random(n)),
                                                         ("v", 0.5 + rng.random(n).astype(np.float32)))]

    g.node("Conv", [x, g.weight("c1_w", random(6, 4, 3, 3))], "c1", pads=[1, 1, 1, 1])
    g.node("BatchNormalization", ["c1", *constants("bn1", 6)], "bn1", epsilon=1e-3)
    g.node("Relu", ["bn1"], "r1")
    g.node("Conv", ["r1", g.weight("c2_w", random(6, 3, 3, 3)), g.weight("c2_b", random(6))], "c2", group=2)
    g.node("Mul", [g.weight("scale", 1 + random(1, 6, 1, 1)), "c2"], "m2")
    g.node("Add", ["m2", g.weight("shift", random(6, 1, 1))], "a2")
    g.node("BatchNormalization", ["a2", *constants("bn2", 6)], "bn2")
    g.node("ConvTranspose", ["bn2", g.weight("c3_w", random(6, 2, 2, 2)), g.weight("c3_b", random(4))], "c3", group=2, strides=[2, 2])
    g.node("Div", ["c3", g.weight("two", np.float32(2))], "d3")
    g.node("Sub", ["d3", g.weight("by_channel", random(4, 1, 1))], "s3")
    g.output(g.node("BatchNormalization", ["s3", *constants("bn3", 4)], "bn3"))
    g.node("Conv", ["s3", g.weight("c4_w", random(5, 4, 1, 1))], "c4")
    g.output(g.node("Add", ["c4", g.weight("by_column", random(14))], "not_by_channel"))
    g.output(g.node("Mul", ["c4", "two"], "second_user"))
    g.node("Gemm", [r, g.weight("g1_w", random(6, 5)), g.weight("g1_b", random(5))], "g1", alpha=0.5, beta=3.0)
    g.node("BatchNormalization", ["g1", *constants("bn4", 5)], "bn4")
    g.node("Gemm", ["bn4", g.weight("g2_w", random(4, 5))], "g2", transB=1)
    g.node("Mul", ["g2", g.weight("g2_s", random(1, 4))], "m4")
    g.output(g.node("Sub", [g.weight("g2_c", random(4)), "m4"], "reversed"))
    g.node("Gemm", [r, g.weight("g3_w", random(6, 5))], "g3")
    g.output(g.node("Mul", ["g3", g.weight("g3_s", random(2, 3, 5))], "higher_rank"))
    g.save("normalised.onnx")


def torture():
    """Weights wherever they may be, and what must be left alone."""
    g = Graph()
    x, flag = g.input("x", [1, 4, 6, 6]), g.input("flag", [], TensorProto.BOOL)
    constant = helper.make_node("Constant", [], ["const_w"], value=numpy_helper.from_array(random(4, 4, 3, 3), ""))
    g.nodes.append(constant)
    g.node("Identity", ["const_w"], "alias1")
    g.node("Identity", ["alias1"], "alias2")
    g.node("Conv", [x, "alias2"], "by_alias", pads=[1, 1, 1, 1])
    g.weight("shared_w", random(4, 4, 3, 3))
    g.node("Conv", ["by_alias", "shared_w"], "shared1", pads=[1, 1, 1, 1])
    g.node("Conv", ["shared1", "shared_w"], "shared2", pads=[1, 1, 1, 1])
    g.weight("inner_w", random(4, 4, 1, 1))
    g.node("Conv", ["shared2", "inner_w"], "outer_use")
    typed = TensorProto(name="typed_w", data_type=TensorProto.FLOAT, dims=[4, 4, 1, 1], float_data=random(16).tolist())
    g.inits.append(typed)
    g.node("Conv", ["outer_use", "typed_w"], "typed")
    branches = []
    for name in ("then", "else"):
        inner = [helper.make_node("Conv", ["typed", "inner_w" if name == "then" else "else_w"], [name + "_out"], name=name + "_conv")]
        inits = [] if name == "then" else [numpy_helper.from_array(random(4, 4, 1, 1), "else_w")]
        branches.append(helper.make_graph(inner, name, [], [helper.make_tensor_value_info(name + "_out", TensorProto.FLOAT, [1, 4, 6, 6])], inits))
    g.node("If", [flag], "branched", then_branch=branches[0], else_branch=branches[1])
    g.weight("q_w", rng.integers(-100, 100, (4, 4, 3, 3)).astype(np.int8))
    g.weight("q_scale", np.float32(0.01))
    g.node("DequantizeLinear", ["q_w", "q_scale"], "dequantised")
    g.node("Conv", ["branched", "dequantised"], "quantised", pads=[1, 1, 1, 1])
    g.node("GlobalAveragePool", ["quantised"], "pooled")
    g.node("Reshape", ["pooled", g.weight("to_sequence", np.array([1, 1, 4]))], "sequence")
    g.node("LSTM", ["sequence", g.weight("lstm_w", random(1, 12, 4)), g.weight("lstm_r", random(1, 12, 3))], ["lstm", "lstm_h"], hidden_size=3)
    g.output("lstm_h")
    double = g.input("d", [2, 5], TensorProto.DOUBLE)
    g.node("Gemm", [double, g.weight("double_w", random(5, 4, dtype=np.float64))], "in_double")
    g.output("in_double", TensorProto.DOUBLE)
    g.save("torture.onnx")


def half(name, numpy_type, onnx_type, run):
    g = Graph()
    x = g.input("x", [1, 4, 6, 6], onnx_type)
    tensor = helper.make_tensor("w", onnx_type, [6, 4, 3, 3], random(216).tolist())
    raw = numpy_helper.from_array(random(5, 6, 1, 1, dtype=numpy_type), "raw_w")
    g.inits += [tensor, raw]
    g.node("Conv", [x, "w"], "y")
    g.node("Conv", ["y", "raw_w"], "z")
    g.output("z", onnx_type)
    g.save(name, opset=22, ir=10, run=run)


def old():
    """Version 3 of the format: weights are inputs, too. Gemm of operator set 9 needs a bias."""
    g = Graph()
    x = g.input("x", [2, 3, 5, 5])
    g.node("Conv", [x, g.weight("w", random(4, 3, 3, 3)), g.weight("b", random(4))], "y")
    g.node("Flatten", ["y"], "flat")
    g.output(g.node("Gemm", ["flat", g.weight("gw", random(36, 6)), g.weight("gb", random(6))], "z"))
    for t in g.inits:
        g.inputs.append(helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.dims))
    g.save("old.onnx", opset=9, ir=3)


def external():
    g = Graph()
    x = g.input("x", [2, 3, 6, 6])
    g.node("Conv", [x, g.weight("w", random(4, 3, 3, 3)), g.weight("b", random(4))], "y")
    g.node("Flatten", ["y"], "flat")
    g.output(g.node("Gemm", ["flat", g.weight("gw", random(64, 6))], "z"))
    g.save("external.onnx", external="external.onnx.data")


def shapes():
    """Shapes that exporters compute in the graph."""
    g = Graph()
    x = g.input("x", [2, 6, 8, 10])
    g.node("Shape", [x], "s")
    g.node("Gather", ["s", g.weight("zero", np.array(0))], "n")
    g.node("Unsqueeze", ["n", g.weight("axis0", np.array([0]))], "n1")
    g.node("Concat", ["n1", g.weight("rest", np.array([-1, 4]))], "target", axis=0)
    g.node("Reshape", [x, "target"], "reshaped")
    g.node("Slice", ["s", g.weight("two", np.array([2])), g.weight("four", np.array([4]))], "hw")
    g.node("Mul", ["hw", g.weight("twice", np.array([2]))], "hw2")
    g.node("Slice", ["s", "axis0", "two"], "nc")
    g.node("Concat", ["nc", "hw2"], "sizes", axis=0)
    g.node("Resize", [x, "", "", "sizes"], "resized")
    g.node("Resize", [x, "", g.weight("scales", np.array([1, 1, 0.5, 1.5], np.float32))], "scaled")
    g.node("MaxPool", [x], "pooled", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    g.node("AveragePool", [x], "averaged", kernel_shape=[2, 3], strides=[2, 1], auto_pad="SAME_UPPER")
    g.node("Split", [x], ["left", "right"], axis=1)
    g.node("Split", [x, g.weight("parts", np.array([1, 5]))], ["one", "five"], axis=1)
    g.node("Pad", ["one", g.weight("pads", np.array([0, 0, 1, 2, 0, 3, 0, 1]))], "padded")
    g.node("ReduceMean", [x], "mean", axes=[2, 3], keepdims=0)
    g.node("ReduceSum", [x, g.weight("minus1", np.array([-1]))], "total")
    g.node("Transpose", [x], "turned", perm=[0, 2, 3, 1])
    g.node("Slice", [x, g.weight("starts", np.array([1, -3])), g.weight("ends", np.array([9999, -1])), g.weight("axes", np.array([1, 2])),
                     g.weight("steps", np.array([2, 1]))], "sliced")
    g.node("Slice", [x, g.weight("starts2", np.array([-1])), g.weight("ends2", np.array([-9999])), g.weight("axes2", np.array([3])),
                     g.weight("steps2", np.array([-1]))], "backwards")
    g.node("Squeeze", ["total", "minus1"], "squeezed")
    g.node("Expand", [g.weight("small", random(6, 1, 1)), "s"], "expanded")
    g.node("ConstantOfShape", ["target"], "zeros")
    g.node("DepthToSpace", [g.node("Concat", [x, "left", "left"], "twelve", axis=1)], "spread", blocksize=2)
    g.node("ArgMax", [x], "best", axis=1, keepdims=0)
    g.node("Tile", ["five", g.weight("repeats", np.array([1, 2, 1, 3]))], "tiled")
    g.node("Add", ["small", g.weight("row", random(10))], "broadcast")
    g.node("Flatten", [x], "flat", axis=-1)
    for name in ("reshaped resized scaled pooled averaged left right one five padded mean total turned sliced backwards squeezed expanded "
                 "zeros twelve spread tiled broadcast flat").split():
        g.output(name)
    g.output("best", TensorProto.INT64)
    g.save("shapes.onnx", run=False, check=False)


os.makedirs(FOLDER, exist_ok=True)
convolutions()
transposed()
products()
transformer()
normalised()
torture()
half("half.onnx", np.float16, TensorProto.FLOAT16, True)
half("bfloat16.onnx", ml_dtypes.bfloat16, TensorProto.BFLOAT16, False)
old()
external()
shapes()
for name, content in (("shapes.json", SHAPES), ("outputs.json", OUTPUTS)):
    with open(os.path.join(FOLDER, name), "w") as file:
        json.dump(content, file, indent=1)
