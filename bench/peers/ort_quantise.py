"""onnxruntime's own static quantiser, to hold ours against: the convolutions of a model in QDQ, int8 for each output channel.

    python3 bench/peers/ort_quantise.py MODEL.onnx SAMPLES.npy OUT.onnx METHOD [reduced]

SAMPLES.npy: samples of the model's one input along the first axis. METHOD: MinMax, Percentile or Entropy. reduced: weights in 7 bits.
Needs PyPI onnx and onnxruntime.
"""

import sys

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

BATCH = 16


class Samples(CalibrationDataReader):
    def __init__(self, name, array):
        self.batches = iter([{name: array[at : at + BATCH]} for at in range(0, len(array), BATCH)])

    def get_next(self):
        return next(self.batches, None)


def main():
    path, samples, out, method = sys.argv[1:5]
    name = onnx.load(path).graph.input[0].name
    quantize_static(
        path,
        out,
        Samples(name, np.load(samples)),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        reduce_range="reduced" in sys.argv[5:],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=getattr(CalibrationMethod, method),
    )


if __name__ == "__main__":
    main()
