"""Answers about different rows as one: see joinAnswers in src/sources/shards.ts."""

import numpy as np


def join(*answers):
    """A task: rows of mode 0 line up, terms add up (in f64), of others the largest is kept, or the one whose first number is least."""
    placed = []
    for index, answer in enumerate(answers):
        at = 0
        for start, count in answer["ranges"]:
            placed.append((start, count, index, at))
            at += count
    placed.sort()
    arrays = []
    for place, (description, first) in enumerate(answers[0]["arrays"]):
        parts = [answer["arrays"][place][1] for answer in answers]
        joining = description["joining"]
        if joining == "rows":
            joined = np.concatenate([parts[index][at : at + count] for _, count, index, at in placed])
        elif joining == "sum":
            joined = np.sum(parts, axis=0, dtype=np.float64).astype(first.dtype)
        elif joining == "max":
            joined = max(parts, key=lambda part: part.flat[0])
        else:
            joined = min(parts, key=lambda part: part.flat[0])
        arrays.append((description, joined))
    return {
        "ranges": [[start, count] for start, count, _, _ in placed],
        "arrays": arrays,
        "seconds": max(answer["seconds"] for answer in answers),
        # the most that a worker sends: its part, or what it joined to that
        "bytes": max(sum(numbers.nbytes for _, numbers in arrays), *(answer["bytes"] for answer in answers)),
        "adapters": {worker: adapter for answer in answers for worker, adapter in answer["adapters"].items()},
        "held": max(answer["held"] for answer in answers),
    }
