"""onnxruntime's own static quantiser, to hold ours against: the convolutions of a model in QDQ, int8 for each output channel.

    python3 bench/peers/ort_quantise.py MODEL.onnx SAMPLES OUT.onnx METHOD [reduced] [products]

SAMPLES: a .npy with samples of the model's one input along the first axis, or a .npz with several such arrays. METHOD: MinMax, Percentile or
Entropy. reduced: weights in 7 bits. products: MatMul and Gemm too. Models of operator sets before 13 are converted first.
Needs PyPI onnx and onnxruntime.
"""

import sys

import numpy as np
import onnx
import onnx.version_converter
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

BATCH = 16


class Samples(CalibrationDataReader):
    def __init__(self, name, arrays):
        self.batches = iter([{name: array[at : at + BATCH]} for array in arrays for at in range(0, len(array), BATCH)])

    def get_next(self):
        return next(self.batches, None)


def main():
    path, samples, out, method = sys.argv[1:5]
    model = onnx.load(path)
    if next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx")) < 13:
        model = onnx.version_converter.convert_version(model, 13)
    name, read = model.graph.input[0].name, np.load(samples)
    arrays = [read] if isinstance(read, np.ndarray) else [read[key] for key in read.files]
    quantize_static(
        model,
        out,
        Samples(name, arrays),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", *(["MatMul", "Gemm"] if "products" in sys.argv[5:] else [])],
        per_channel=True,
        reduce_range="reduced" in sys.argv[5:],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=getattr(CalibrationMethod, method),
    )


if __name__ == "__main__":
    main()
