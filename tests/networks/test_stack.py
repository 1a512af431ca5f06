from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from deeplimit.branches import Convolution, ModuleBranch, OneMatrix, Perceptron, Tanh
from deeplimit.checks import InputError
from deeplimit.draws import NamedDraw, SequentialDraw
from deeplimit.engines import ENGINES
from deeplimit.networks import Dense, LastCoordinates, Padding, ResidualStack, ensemble, member
from deeplimit.processes import IID, GaussianProcess, Normal, Tied, Zero
from deeplimit.scaling import DepthScaling
from tests.cases import CASES, MEMBERS, OWN_BRANCHES, PROCESSES, error, normal, plain, relative, two_layers

D, Q, OUT, N = 2, 4, 3, 5
ENDS: dict[str, Any] = {"embedding": Dense(D, Q, 0.7), "readout": Dense(Q, OUT, 0.7)}
PERCEPTRON = ResidualStack(Perceptron(Q, 6, Tanh(), bias=True), 5, init=IID(), **ENDS)
ONE_MATRIX = ResidualStack(OneMatrix(Q, delta="shared"), 5, init=IID(), **ENDS)
FLAT = [case for case in CASES if case.name.split("-")[0] != "convolution"]
HERE = [name for name, engine in ENGINES.items() if engine.supports(Perceptron(1, 1))]  # on the CPU
every_engine = pytest.mark.parametrize("engine", ["auto", *HERE])
members = pytest.mark.parametrize("members", MEMBERS, ids=lambda e: f"E={e}")


def drawn(network, count=None):
    """Parameters in float64, for `count` members where it is a number."""
    if count is None:
        return network.initialise(0, dtype=torch.float64)
    return ensemble([network.initialise(seed, dtype=torch.float64) for seed in range(count)])


def inputs(*lead: int) -> torch.Tensor:
    return normal((*lead, N, D), torch.Generator().manual_seed(5))


def formula(network, params, x):
    """F(x) = B h_L with h_0 = A x, member by member; nothing of the network's own code in it."""
    if params["embedding"].dim() == 3:
        shared = x.dim() == 2
        return torch.stack(
            [formula(network, member(params, e), x if shared else x[e]) for e in range(len(params["embedding"]))]
        )
    theta = {role: t for role, t in params.items() if role not in ("embedding", "readout")}
    last = plain(network.branch, x @ params["embedding"].T, theta, network.depth**-1.0)
    return last @ params["readout"].T


def differentiated(function, params, x):
    """The output and the gradient of its squared norm, for every parameter and for x."""
    leaves, x = {role: t.clone().requires_grad_() for role, t in params.items()}, x.clone().requires_grad_()
    output = function(leaves, x)
    found = torch.autograd.grad(output.square().sum(), [x, *leaves.values()])
    return {"output": output.detach(), "x": found[0], **dict(zip(leaves, found[1:], strict=True))}


# --- the whole network against the formula ---


@every_engine
@members
@pytest.mark.parametrize(
    "case", [case for case in FLAT if case.name.split("-")[-1] in ("gelu", "tanh", *OWN_BRANCHES)], ids=str
)
def test_output_and_gradients_are_those_of_the_formula(case, members, engine):
    network = ResidualStack(case.build(Q, 6), 5, init=IID(), **ENDS)
    if engine != "auto" and not ENGINES[engine].supports(network.branch):
        engine = "auto"
    params = drawn(network, members)
    for x in [inputs()] if members is None else [inputs(), inputs(members)]:
        found = differentiated(partial(network.__call__, engine=engine), params, x)
        assert error(found, differentiated(partial(formula, network), params, x)) <= 1e-12


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_every_branch_is_multiplied_by_the_power_of_the_depth(beta):
    network = ResidualStack(OneMatrix(Q, delta="layer", bias=False), 7, DepthScaling(beta), init=IID())
    params = drawn(network)
    h = x = normal((N, Q), torch.Generator().manual_seed(0))
    for A, delta in zip(params["A"], params["delta"], strict=True):
        h = h + 7**-beta * delta * torch.tanh(h @ A.T)
    assert relative(network(params, x), h) <= 1e-13


def test_states_and_output_belong_together():
    params = drawn(PERCEPTRON, 2)
    states = PERCEPTRON.states(params, inputs())
    assert states.shape == (6, 2, N, Q)
    assert torch.equal(states[0], PERCEPTRON.embed(params, inputs()))
    assert relative(states[-1] @ params["readout"].mT, PERCEPTRON(params, inputs())) <= 1e-14


def test_without_ends_input_and_output_are_states():
    network = ResidualStack(Convolution(2, (3, 4)), 3)
    x = normal((N, 2, 3, 4), torch.Generator().manual_seed(0))
    params = network.initialise(dtype=torch.float64)
    assert params.keys() == {"V", "W"}
    assert torch.equal(network(params, x), x)  # V = 0
    assert network(ensemble([params, params]), x).shape == (2, *x.shape)


def test_the_start_of_the_paper_gives_zero_where_the_state_has_room():
    room = ResidualStack(Perceptron(5, 6), 4, embedding=Padding(2, 5), readout=LastCoordinates(5, 3))
    assert torch.equal(room(drawn(room), inputs()), torch.zeros(N, 3, dtype=torch.float64))
    tight = ResidualStack(Perceptron(4, 6), 4, embedding=Padding(2, 4), readout=LastCoordinates(4, 3))
    assert torch.equal(tight(drawn(tight), inputs())[:, 0], inputs()[:, 1])


# --- an ensemble is its members ---


@every_engine
@pytest.mark.parametrize("network", [PERCEPTRON, ONE_MATRIX], ids=["perceptron", "one-matrix"])
def test_an_ensemble_equals_the_separate_networks(network, engine):
    together, x = drawn(network, 3), inputs(3)
    found = differentiated(partial(network.__call__, engine=engine), together, x)
    for e in range(3):
        alone = differentiated(
            partial(network.__call__, engine=engine), drawn(network, 3) and member(together, e), x[e]
        )
        assert error({role: t[e] for role, t in found.items()}, alone) <= 1e-12


def test_members_do_not_see_each_other():
    params = drawn(PERCEPTRON, 3)
    other = {role: t.clone() for role, t in params.items()}
    for t in other.values():
        t[1] = torch.nan
    one, two = PERCEPTRON(params, inputs()), PERCEPTRON(other, inputs())
    assert torch.equal(one[[0, 2]], two[[0, 2]])
    assert bool(two[1].isnan().all())


def test_member_undoes_ensemble():
    separate = [PERCEPTRON.initialise(seed) for seed in (3, 4)]
    together = ensemble(separate)
    assert all(torch.equal(member(together, e)[role], separate[e][role]) for e in (0, 1) for role in together)


# --- torch.func, forward mode, gradients of gradients: the reference engine steps in, whatever is asked for ---

forward_mode = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
both = pytest.mark.parametrize("network", [PERCEPTRON, ONE_MATRIX], ids=["perceptron", "one-matrix"])
fast = pytest.mark.parametrize("engine", ["auto", "torch"])


def loss(function, params, x):
    return function(params, x).square().sum()


def derivative(function, point, *, along):
    return torch.func.jvp(function, (point,), (along,))[1]


@fast
@both
@members
def test_torch_func_grad(network, members, engine):
    params, x = drawn(network, members), inputs()
    found = torch.func.grad(partial(loss, partial(network.__call__, engine=engine)))(params, x)
    expected = differentiated(partial(formula, network), params, x)
    assert error(found, {role: expected[role] for role in params}) <= 1e-12


@fast
@both
def test_torch_func_vmap_over_parameters_is_an_ensemble(network, engine):
    params = drawn(network, 3)
    found = torch.func.vmap(partial(network.__call__, engine=engine), in_dims=(0, None))(params, inputs())
    assert relative(found, network(params, inputs())) <= 1e-13


@fast
@both
def test_torch_func_gradients_per_sample(network, engine):
    params, x = drawn(network), inputs()
    one = torch.func.grad(lambda p, row: loss(partial(network.__call__, engine=engine), p, row[None]))
    found = torch.func.vmap(one, in_dims=(None, 0))(params, x)
    expected = differentiated(partial(formula, network), params, x)
    assert error({role: g.sum(0) for role, g in found.items()}, {role: expected[role] for role in params}) <= 1e-12
    assert not torch.allclose(found["readout"][0], found["readout"][1])


@forward_mode
@fast
@both
@members
def test_torch_func_jvp(network, members, engine):
    params, x = drawn(network, members), inputs()
    tangent = {role: torch.ones_like(t) for role, t in params.items()}
    found = derivative(lambda p: network(p, x, engine=engine), params, along=tangent)
    expected = derivative(lambda p: formula(network, p, x), params, along=tangent)
    assert relative(found, expected) <= 1e-12
    step = {role: t + 1e-6 for role, t in params.items()}
    back = {role: t - 1e-6 for role, t in params.items()}
    assert relative((network(step, x) - network(back, x)) / 2e-6, found) <= 1e-7


@forward_mode
@fast
@both
def test_forward_mode(network, engine):
    params, x = drawn(network), inputs()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        found = torch.autograd.forward_ad.unpack_dual(network(params, dual, engine=engine)).tangent
    expected = derivative(partial(formula, network, params), x, along=torch.ones_like(x))
    assert relative(found, expected) <= 1e-12


@fast
@both
@members
def test_create_graph(network, members, engine):
    """A Hessian-vector product over all parameters and x."""

    def product(function):
        leaves, x = (
            {role: t.clone().requires_grad_() for role, t in drawn(network, members).items()},
            inputs().requires_grad_(),
        )
        variables = [x, *leaves.values()]
        first = torch.autograd.grad(loss(function, leaves, x), variables, create_graph=True)
        second = torch.autograd.grad(torch.stack([g.sum() for g in first]).sum(), variables)
        return dict(zip(("x", *leaves), second, strict=True))

    assert error(product(partial(network.__call__, engine=engine)), product(partial(formula, network))) <= 1e-12


@forward_mode
@fast
@both
def test_torch_func_hessian(network, engine):
    params, x = drawn(network), inputs()[:2]
    found = torch.func.hessian(lambda x: loss(partial(network.__call__, engine=engine), params, x))(x)
    expected = torch.autograd.functional.hessian(lambda x: loss(partial(formula, network), params, x), x)
    assert relative(found, expected) <= 1e-12


# --- the specification ---


def test_roles_and_what_training_moves():
    frozen = ResidualStack(
        OneMatrix(4, delta="shared"), 3, embedding=Padding(2, 4, trainable=False), readout=Dense(4, 1, 1.0)
    )
    assert frozen.layer_roles == ("A", "b")
    assert frozen.trainable == ("A", "b", "delta", "readout")
    assert PERCEPTRON.trainable == ("V", "W", "b", "c", "embedding", "readout")


def test_at_depth_changes_the_depth_alone():
    deeper = PERCEPTRON.at_depth(9)
    assert deeper.depth == 9
    assert deeper.at_depth(5) == PERCEPTRON
    assert deeper != PERCEPTRON


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_one_seed_is_one_network_in_every_precision(process):
    network = ResidualStack(Perceptron(3, 4), 5, init={"W": process})
    single, double = network.initialise(3), network.initialise(3, dtype=torch.float64)
    assert single["W"].dtype == torch.float32
    assert torch.equal(single["W"], double["W"].float())
    assert torch.equal(network.initialise(3)["W"], single["W"])


@pytest.mark.parametrize("process", [IID(), Tied(), GaussianProcess()], ids=["iid", "tied", "gaussian"])
def test_another_seed_is_another_network(process):
    network = ResidualStack(Perceptron(3, 4), 5, init={"W": process})
    assert not torch.equal(network.initialise(3)["W"], network.initialise(4)["W"])


def test_a_stream_goes_on_where_the_weights_end():
    network = ResidualStack(Perceptron(3, 4), 5, init={"V": Zero(), "W": Tied()})
    stream = SequentialDraw().stream(6)
    weights = network.initialise(stream)
    after = torch.randn(2, generator=stream.generator("x"))
    known = torch.Generator().manual_seed(6)
    assert torch.equal(weights["W"][0], torch.randn(4, 3, generator=known))
    assert torch.equal(after, torch.randn(2, generator=known))
    assert torch.equal(network.initialise(6, draw=SequentialDraw())["W"], weights["W"])
    assert torch.equal(network.initialise(6)["W"], network.initialise(NamedDraw().stream(6))["W"])


@pytest.mark.parametrize("draw", [NamedDraw(), SequentialDraw()], ids=["named", "sequential"])
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_the_global_generator_is_never_touched(process, draw):
    before = torch.get_rng_state()
    network = ResidualStack(Perceptron(3, 4), 5, init={"V": Zero(), "W": process}, embedding=Dense(2, 3, 1.0))
    network.initialise(1, draw=draw)
    network.paths(1, draw=draw)["W"](3)
    network.module(1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_module_leaves_the_global_generator_as_it_was_and_does_not_read_it():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    network = ResidualStack(ModuleBranch(two_layers(3, 4), (3,)), 5)
    first = network.initialise(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(network.initialise(1)["0.weight"], first["0.weight"])


# --- errors ---


@pytest.mark.parametrize("depth", [0, -1, 2.0, True])
def test_a_depth_that_is_no_positive_integer_is_refused(depth):
    with pytest.raises(InputError, match="depth: expected an integer of at least 1, found"):
        ResidualStack(OneMatrix(2), depth)


def test_parameters_of_another_network_are_refused():
    with pytest.raises(InputError, match=r"parameter V: expected shape \(5, 4, 6\), found \(6, 4, 6\)"):
        PERCEPTRON(PERCEPTRON.at_depth(6).initialise(), inputs().float())
    with pytest.raises(InputError, match=r"parameter V: expected shape \(5, 4, 6\), found \(6, 4, 6\)"):
        PERCEPTRON(drawn(PERCEPTRON.at_depth(6), 2), inputs())
    assert PERCEPTRON(PERCEPTRON.initialise(), inputs().float()).shape == (N, OUT)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 3), r"state A x: expected shape \(any, 4\), found \(5, 3\)"),
        ((4,), r"state A x: expected shape \(any, 4\), found \(4,\)"),
        ((2, 5, 4), r"state A x: expected shape \(any, 4\), found \(2, 5, 4\)"),
    ],
)
def test_inputs_of_another_shape_are_refused(shape, message):
    network = ResidualStack(OneMatrix(4), 3)
    with pytest.raises(InputError, match=message):
        network(network.initialise(), torch.zeros(shape))
    assert network(network.initialise(), torch.zeros(5, 4)).shape == (5, 4)


@pytest.mark.parametrize("count", [None, 2])
def test_inputs_that_the_embedding_cannot_take_are_refused(count):
    with pytest.raises(InputError, match=r"input x: expected shape .*2\), found .*3\)"):
        PERCEPTRON(drawn(PERCEPTRON, count), torch.zeros(5, 3, dtype=torch.float64))


def test_inputs_of_another_ensemble_are_refused():
    network = ResidualStack(OneMatrix(4), 3)
    with pytest.raises(InputError, match=r"state A x: expected shape \(2, any, 4\), found \(3, 5, 4\)"):
        network(drawn(network, 2), torch.zeros(3, 5, 4, dtype=torch.float64))


def test_an_ensemble_needs_members_with_equal_roles():
    with pytest.raises(InputError, match=r"ensemble: expected members with equal roles, found \[\]"):
        ensemble([])
    with pytest.raises(InputError, match="ensemble: expected members with equal roles, found"):
        ensemble([PERCEPTRON.initialise(), ONE_MATRIX.initialise()])


def test_an_unknown_engine_is_refused():
    with pytest.raises(InputError, match=r"engine: expected one of torch.*; found 'torhc'"):
        PERCEPTRON(drawn(PERCEPTRON), inputs(), engine="torhc")


def test_normal_weights_have_the_scale_asked_for():
    W = ResidualStack(Perceptron(30, 40), 20, init={"W": IID(Normal(0.3))}).initialise()["W"]
    assert float(W.std()) == pytest.approx(0.3, rel=0.02)
