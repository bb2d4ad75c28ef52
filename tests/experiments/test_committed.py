"""What is committed: every run of a study is there under its key, and the summary is that of the runs.

Nothing is run: a run that is missing is a failure.
"""

from __future__ import annotations

import pytest
from support import ROOT

from sequential_fmnist.experiments.ablation import ABLATION
from sequential_fmnist.experiments.columns import COLUMNS
from sequential_fmnist.experiments.fair.controls import CONTROLS
from sequential_fmnist.experiments.fair.plan import FAIR
from sequential_fmnist.experiments.frame import Study, key_of
from sequential_fmnist.experiments.repeated import REPEATED, REPLAYED
from sequential_fmnist.experiments.results import write_json
from sequential_fmnist.experiments.where import WHERE

pytestmark = pytest.mark.xdist_group("experiments")

RESULTS = ROOT / "results"


@pytest.mark.parametrize(
    "study", [ABLATION, COLUMNS, FAIR, REPEATED, REPLAYED, WHERE, CONTROLS], ids=lambda one: one.name
)
def test_committed_runs_are_those_of_the_study_and_the_summary_is_theirs(study: Study, tmp_path):
    own, records = study.store(RESULTS).records(), study.records(RESULTS)
    for key, record in own.items():
        assert key_of(record["spec"], record["seed"]) == key
    wanted = {
        spec.key(): f"{name}, {case.name}, {case.kind}, seed {spec.training.seed}"
        for name, group in study.groups.items()
        for case in group(records)
        for spec in case.runs()
    }
    pending = tuple(f"{name}, " for name in study.pending)
    missing = [words for key, words in wanted.items() if key not in records and not words.startswith(pending)]
    assert not missing, f"{len(missing)} runs are not in results/, such as {missing[:3]}"
    assert own.keys() <= wanted.keys()
    path = tmp_path / "summary.json"
    write_json(path, study.summary(records, RESULTS), width=600)
    assert path.read_bytes() == (RESULTS / f"{study.name}.json").read_bytes()
