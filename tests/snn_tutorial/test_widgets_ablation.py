from __future__ import annotations

import pytest
from support_ablation import summary

from snn_tutorial.widgets.ablation import control_explorer


@pytest.fixture(scope="module")
def made_up():
    return summary()


def test_each_control_changes_the_picture(made_up, shown):
    control, *switches = [w for row in control_explorer(made_up).children[:2] for w in row.children]
    assert control.value == "delay"
    control.value = "order"
    for switch in switches:
        switch.value = False
    assert len(shown) == len(set(shown)) == 2 + len(switches)


def test_names_every_group_that_was_run_with_its_question(made_up):
    control = control_explorer(made_up).children[0].children[0]
    names = [name for _, name in control.options]
    assert names == [name for name, members in made_up["groups"].items() if members]
    assert (
        dict(map(reversed, control.options))["size"] == "size: Is it the loop, or the number of parameters?"
    )


def test_starts_with_what_there_is(made_up, shown):
    few = made_up | {"groups": {"best": [], "order": made_up["groups"]["order"]}}
    assert control_explorer(few).children[0].children[0].value == "order"
    with pytest.raises(ValueError, match="has no group"):
        control_explorer(made_up | {"groups": {"best": []}})
