"""The packer's rules, one by one: what fits where, what is refused, what costs decide, what errors say."""

from __future__ import annotations

import math

import pytest

from orbit_core.sched.packing import Node, Packer, Placement, Request


def node(name: str = "a", *, cpu: int = 16_000, memory: int = 64_000, gpus: int = 0, **more: object) -> Node:
    model = more.pop("model", "T4" if gpus else None)
    return Node(name, cpu, memory, gpus, model, **more)  # type: ignore[arg-type]


def half(**more: int) -> Request:
    return Request(1_000, 1_000, gpus=1, gpu_milli=500, **more)


# What fits.


def test_cpu_and_memory_are_hard_limits():
    packer = Packer([node(cpu=2_000, memory=3_000)])
    assert packer.place(Request(2_001, 0)) is None
    assert packer.place(Request(0, 3_001)) is None
    assert packer.place(Request(2_000, 3_000)) == Placement("a", ())
    assert packer.place(Request(1, 0)) is None


def test_a_fraction_never_spans_two_gpus():
    packer = Packer([node(gpus=2)])
    assert [packer.place(Request(0, 0, gpus=1, gpu_milli=600)) for _ in range(3)] == [
        Placement("a", (0,)),
        Placement("a", (1,)),
        None,
    ]


def test_fractions_share_a_gpu_before_another_is_opened():
    packer = Packer([node("a", gpus=2), node("b", gpus=2)])
    first, second = packer.place(half()), packer.place(half())
    assert first == second
    assert first is not None


@pytest.mark.parametrize("whole", [0, 1_000])
def test_one_gpu_without_thousandths_or_with_all_of_them_is_a_whole_one(whole: int):
    packer = Packer([node(gpus=2)])
    packer.occupy(Request(0, 0, gpus=1, gpu_milli=1), Placement("a", (0,)))
    assert packer.place(Request(0, 0, gpus=1, gpu_milli=whole)) == Placement("a", (1,))
    assert packer.place(Request(0, 0, gpus=1, gpu_milli=whole)) is None


def test_several_gpus_are_whole_ones_of_one_node():
    packer = Packer([node("a", gpus=2), node("b", gpus=4)])
    packer.occupy(half(), Placement("b", (1,)))
    assert packer.place(Request(0, 0, gpus=3)) == Placement("b", (0, 2, 3))
    assert packer.place(Request(0, 0, gpus=3)) is None
    assert packer.place(Request(0, 0, gpus=2)) == Placement("a", (0, 1))


def test_a_request_goes_to_its_gpu_models_only():
    packer = Packer([node("a", gpus=1, model="T4"), node("b", gpus=1, model="A10"), node("c")])
    bound = Request(0, 0, gpus=1, gpu_models=frozenset({"A10", "H100"}))
    assert packer.place(bound) == Placement("b", (0,))
    assert packer.place(bound) is None


def test_gpu_memory_is_an_amount_of_its_own():
    packer = Packer([node(gpus=1, gpu_memory_mib=16_000)])
    quarter = Request(0, 0, gpus=1, gpu_milli=250, gpu_memory_mib=7_000)
    assert packer.place(quarter) is not None
    assert packer.place(quarter) is not None
    assert packer.place(quarter) is None, "500 thousandths are free, 7,000 MiB are not"
    assert packer.place(Request(0, 0, gpus=1, gpu_milli=500, gpu_memory_mib=2_000)) == Placement("a", (0,))


def test_a_whole_gpu_must_have_the_memory_named():
    packer = Packer([node("a", gpus=1, gpu_memory_mib=16_000), node("b", gpus=1, gpu_memory_mib=24_000)])
    assert packer.place(Request(0, 0, gpus=1, gpu_memory_mib=20_000)) == Placement("b", (0,))
    assert packer.place(Request(0, 0, gpus=1, gpu_memory_mib=20_000)) is None


def test_gpu_memory_that_is_not_known_is_not_checked():
    packer = Packer([node(gpus=1)])
    assert packer.place(Request(0, 0, gpus=1, gpu_milli=1, gpu_memory_mib=1_000_000)) is not None


def test_work_without_gpus_goes_to_nodes_without_them_first_and_to_the_others_then():
    packer = Packer([node("gpu", gpus=1), node("cpu")])
    request = Request(16_000, 1_000)
    assert packer.place(request) == Placement("cpu", ())
    assert packer.place(request) == Placement("gpu", ())
    assert packer.place(request) is None


def test_work_without_gpus_fills_a_node_before_it_opens_another():
    packer = Packer([node("a"), node("b")])
    packer.occupy(Request(1_000, 0), Placement("b", ()))
    assert packer.place(Request(1_000, 0)) == Placement("b", ())


def test_work_that_needs_little_cpu_is_kept_for_gpus_that_have_little():
    light, heavy = Request(2_000, 0, gpus=1), Request(14_000, 0, gpus=1)
    nodes = [node("rich", cpu=32_000, gpus=2), node("poor", cpu=4_000, gpus=2)]
    packer = Packer(nodes, {light: 1, heavy: 1})
    placed = [packer.place(request) for request in (light, light, heavy, heavy)]
    assert [placement and placement.node_id for placement in placed] == ["poor", "poor", "rich", "rich"]


def test_a_stub_that_nothing_completes_is_not_made_while_another_choice_is_there():
    # 400 and 600 complete each other; 400 beside 500 would leave 100 that nobody takes.
    packer = Packer([node(gpus=3)], {Request(0, 0, gpus=1, gpu_milli=milli): 1 for milli in (400, 500, 600)})
    packer.occupy(Request(0, 0, gpus=1, gpu_milli=500), Placement("a", (0,)))
    packer.occupy(Request(0, 0, gpus=1, gpu_milli=600), Placement("a", (1,)))
    assert packer.place(Request(0, 0, gpus=1, gpu_milli=400)) == Placement("a", (1,))
    assert packer.place(Request(0, 0, gpus=1, gpu_milli=500)) == Placement("a", (0,))


# Costs.


def test_the_lowest_cost_wins_whatever_it_leaves_behind():
    packer = Packer([node("a", gpus=1), node("b", gpus=1)])
    packer.occupy(half(), Placement("a", (0,)))
    assert packer.place(half(), cost={"a": 2.0, "b": 1.0}) == Placement("b", (0,))


def test_what_is_left_behind_decides_among_equal_costs():
    packer = Packer([node("a", gpus=1), node("b", gpus=1)])
    packer.occupy(half(), Placement("b", (0,)))
    assert packer.place(half(), cost={"a": 1.0, "b": 1.0}) == Placement("b", (0,))


def test_only_nodes_with_a_cost_count():
    packer = Packer([node("a"), node("b", cpu=100)])
    assert packer.place(Request(1_000, 0), cost={"b": 1.0, "elsewhere": 0.0}) is None
    assert packer.place(Request(1_000, 0), cost={}) is None
    assert packer.place(Request(1_000, 0), cost={"a": math.inf}) == Placement("a", ())


def test_a_dearer_node_is_taken_when_the_cheap_one_is_full():
    packer = Packer([node("a", cpu=1_000), node("b", cpu=1_000)])
    cost = {"a": 1.0, "b": 5.0}
    assert [packer.place(Request(1_000, 0), cost=cost) for _ in range(3)] == [
        Placement("a", ()),
        Placement("b", ()),
        None,
    ]


def test_a_cost_has_to_be_a_number():
    with pytest.raises(ValueError, match="not a number"):
        Packer([node()]).place(Request(0, 0), cost={"a": math.nan})


# Nodes that come and go.


def test_a_node_that_is_added_can_be_used_at_once_also_with_more_gpus_and_another_model():
    packer = Packer([], {half(): 1.0})
    assert packer.place(Request(0, 0)) is None
    packer.add_node(node("a"))
    assert packer.place(Request(0, 0, gpus=1)) is None
    packer.add_node(node("b", gpus=8, model="H100"))
    assert packer.place(Request(0, 0, gpus=8, gpu_models=frozenset({"H100"}))) == Placement("b", tuple(range(8)))


def test_a_node_that_is_removed_takes_what_it_held_with_it():
    packer = Packer([node("a"), node("b", cpu=0)])
    placement = packer.place(Request(1_000, 0))
    assert placement == Placement("a", ())
    packer.remove_node("a")
    assert packer.place(Request(1_000, 0)) is None
    with pytest.raises(ValueError, match="not known"):
        packer.release(Request(1_000, 0), placement)
    packer.add_node(node("a"))
    assert packer.place(Request(16_000, 0)) == placement, "the node has come back empty"


def test_ids_of_nodes_are_told_apart():
    packer = Packer([node("a")])
    with pytest.raises(ValueError, match="there already"):
        packer.add_node(node("a"))
    with pytest.raises(ValueError, match="there already"):
        Packer([node("a"), node("a")])
    with pytest.raises(ValueError, match="not known"):
        packer.remove_node("b")


# Recovery and release.


def test_occupy_refuses_what_does_not_fit_and_then_changes_nothing():
    packer = Packer([node(cpu=1_000, gpus=1)])
    packer.occupy(Request(500, 0, gpus=1, gpu_milli=700), Placement("a", (0,)))
    for request in (Request(501, 0), Request(0, 0, gpus=1, gpu_milli=301)):
        with pytest.raises(ValueError, match="does not fit"):
            packer.occupy(request, Placement("a", (0,) * request.gpus))
    assert packer.place(Request(500, 0, gpus=1, gpu_milli=300)) == Placement("a", (0,))


@pytest.mark.parametrize("indices", [(), (0, 1), (2,), (-1,)])
def test_occupy_refuses_gpus_that_cannot_be_meant(indices: tuple[int, ...]):
    with pytest.raises(ValueError, match="GPUs"):
        Packer([node(gpus=2)]).occupy(half(), Placement("a", indices))


def test_occupy_refuses_one_gpu_named_twice_and_another_model():
    packer = Packer([node(gpus=2)])
    with pytest.raises(ValueError, match="ascending"):
        packer.occupy(Request(0, 0, gpus=2), Placement("a", (0, 0)))
    with pytest.raises(ValueError, match="bound to other models"):
        packer.occupy(Request(0, 0, gpus=1, gpu_models=frozenset({"H100"})), Placement("a", (0,)))


def test_release_takes_back_just_what_is_held():
    packer = Packer([node(gpus=2)])
    placement = packer.place(half())
    assert placement is not None
    for request, where in ((half(gpu_memory_mib=1), placement), (half(), Placement("a", (1,)))):
        with pytest.raises(ValueError, match="not held"):
            packer.release(request, where)
    packer.release(half(), placement)
    with pytest.raises(ValueError, match="not held"):
        packer.release(half(), placement)


# What cannot be asked for.


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpu_milli": -1},
        {"memory_mib": -1},
        {"gpus": -1},
        {"gpus": 1, "gpu_milli": -1},
        {"gpus": 1, "gpu_milli": 1_001},
        {"gpus": 2, "gpu_milli": 500},
        {"gpus": 0, "gpu_milli": 500},
        {"gpus": 0, "gpu_memory_mib": 1},
        {"gpus": 1, "gpu_memory_mib": -1},
    ],
)
def test_a_request_that_means_nothing_is_an_error(wrong: dict[str, int]):
    with pytest.raises(ValueError):
        Request(**{"cpu_milli": 0, "memory_mib": 0, **wrong})


def test_a_node_has_no_less_than_nothing():
    with pytest.raises(ValueError, match="gpus is -1"):
        Node("a", 0, 0, -1, None)


@pytest.mark.parametrize("frequency", [-1.0, math.inf, math.nan])
def test_an_expected_frequency_is_a_finite_number(frequency: float):
    with pytest.raises(ValueError, match="frequency"):
        Packer([node()], {half(): frequency})
