"""Geometric inference of models with a plate: against dense matrices, and against all at once."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import tengri_ppl as tg
from tengri_ppl.inference import geometric
from tengri_ppl.inference.approximation import Approximation
from tengri_ppl.inference.arrow import Mean, frame_at
from tengri_ppl.inference.arrow_draws import Normals, draw_plated
from tengri_ppl.inference.members import _normals, _Programs, _search, _turned
from tengri_ppl.inference.plated import member_likelihoods, plate_structure
from tengri_ppl.inference.standard import StandardTarget
from tengri_ppl.inference.target import Target
from tengri_ppl.runtime.compilation import count_compilations

G, B, K = 12, 3, 4
RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(G, B, K)).astype(np.float32)
TRUTH = np.einsum("gbk,gk->gb", MATRIX, RNG.normal(size=(G, K))) + 0.5
DATA = (TRUTH + 0.3 * RNG.normal(size=TRUTH.shape)).astype(np.float32)
N_DRAWS = 2000


def members(matrix, data, bend):
    """Curved predictions, with what is shared in locations and in a scale."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    floor = numpyro.sample("floor", dist.Normal(0.0, 0.5))
    with numpyro.plate("member", len(data)):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([K - 1]).to_event(1))
        z = numpyro.sample("z", dist.Normal(mu, 1.0))
        both = jnp.concatenate([x, z[:, None]], axis=-1)
        expected = jnp.einsum("gbk,gk->gb", matrix, both) + floor
        expected = expected + bend * expected**2
        numpyro.sample("data", dist.Normal(expected, 0.3).to_event(1), obs=data)


def made(bend):
    target = Target(members, (MATRIX, DATA + bend * DATA**2, jnp.asarray(bend)))
    view = StandardTarget(target)
    return view, plate_structure(view)


@pytest.fixture(scope="module", params=[True, False], ids=["geovi", "mgvi"])
def drawn(request):
    """Draws around a point that is not the mode, with all that they are made of."""
    view, structure = made(0.02)
    key = jax.random.key(0)
    mean = Mean(jnp.array([0.3, -0.2]), 0.3 * jax.random.normal(key, (G, K)))
    frame = frame_at(members, structure, mean, *view.arguments)
    keys = jax.random.split(key, 3)
    shapes = (6, 2), (6, G, K), (6, G, B)
    y = Normals(*(jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)))
    curved = jnp.asarray(request.param)
    draws = draw_plated(members, structure, frame, mean, y, curved, *view.arguments)
    return view, structure, mean, y, draws, request.param


def dense(view, structure, mean):
    """Mean, prediction and Jacobian over the whole vector, in 64 bits' worth of NumPy."""
    xi = structure.join(*mean)

    def predict(xi):
        return member_likelihoods(members, structure, *structure.cut(xi), *view.arguments)[1]

    jacobian = jax.jacfwd(lambda x: jnp.ravel(predict(x)))(xi)
    return np.asarray(xi, float), predict, np.asarray(jacobian, float)


def test_draws_solve_the_equation_of_geovi(drawn):
    """w = y + J^T n on one side, and on the other the curve, or its tangent for MGVI."""
    view, structure, mean, y, draws, curved = drawn
    xi, predict, jacobian = dense(view, structure, mean)
    assert np.asarray(draws.solved).all()
    for i in range(6):
        wanted = np.asarray(structure.join(y.shared[i], y.local[i]), float)
        wanted = wanted + jacobian.T @ np.ravel(y.data[i])
        offset = structure.join(draws.offset.shared[i], draws.offset.local[i])
        step = np.asarray(offset, float)
        change = np.ravel(predict(xi + offset) - predict(xi)) if curved else jacobian @ step
        got = step + jacobian.T @ change
        metric = np.eye(len(xi)) + jacobian.T @ jacobian
        error = np.linalg.solve(np.linalg.cholesky(metric), got - wanted)
        assert np.linalg.norm(error) < 0.05 * np.sqrt(G)


def test_densities_of_draws(drawn):
    """A Gaussian of w with the metric as its covariance, times the slope of the curve."""
    view, structure, mean, _, draws, curved = drawn
    xi, predict, jacobian = dense(view, structure, mean)
    metric = np.eye(len(xi)) + jacobian.T @ jacobian
    for i in range(6):
        point = structure.join(*jax.tree.map(lambda a, i=i: a[i], draws.offset)) + xi
        step = np.asarray(point, float) - xi
        there = dense(view, structure, Mean(*structure.cut(point)))[2] if curved else jacobian
        change = np.ravel(predict(point) - predict(xi)) if curved else jacobian @ step
        w = step + jacobian.T @ change
        slope = np.linalg.slogdet(np.eye(len(xi)) + jacobian.T @ there)[1]
        expected = slope - 0.5 * (
            w @ np.linalg.solve(metric, w)
            + np.linalg.slogdet(metric)[1]
            + len(xi) * np.log(2.0 * np.pi)
        )
        assert draws.log_q[i] == pytest.approx(expected, abs=0.05)


def test_posterior_densities_of_draws(monkeypatch):
    """Those that come with the draws are the model's."""
    monkeypatch.setattr(geometric, "_MOST_DENSE", 0)
    view, _ = made(0.02)
    found = geometric.run_geovi(
        view.target, jax.random.key(2), geometric.GeometricOptions(n_samples=8)
    )
    values = {name: np.asarray(found.samples[name][0]) for name, _ in view.layout}
    xi = np.stack([view.coordinates({k: x[i] for k, x in values.items()}) for i in range(8)])
    expected = view.log_density(jnp.asarray(xi))
    np.testing.assert_allclose(found.sample_stats["lp"][0], expected, atol=2e-3)


def test_coordinates_are_cut_and_joined():
    view, structure = made(0.0)
    assert structure.size == G and structure.n_local == K
    assert [name for name, _ in structure.shared] == ["floor", "mu"]
    xi = jax.random.normal(jax.random.key(1), (view.dimension,))
    np.testing.assert_array_equal(structure.join(*structure.cut(xi)), xi)


def test_a_linear_model_is_exact(monkeypatch):
    """The posterior of linear Gaussian models is the Gaussian that both methods draw from."""
    monkeypatch.setattr(geometric, "_MOST_DENSE", 0)
    arguments = (MATRIX, DATA, jnp.zeros(()))
    found = tg.infer(members, arguments, None, "geovi", jax.random.key(2), n_samples=N_DRAWS)
    attrs = found.inference_data.attrs
    assert abs(attrs["kl_divergence"]) < 0.01 and attrs["unsolved_share"] == 0.0
    # columns of the design matrix: floor, mu, and x, z - mu of every member
    design = np.zeros((G * B, 2 + G * K))
    design[:, 0], design[:, 1] = 0.5, np.ravel(MATRIX[:, :, -1])
    for g in range(G):
        design[g * B : (g + 1) * B, 2 + g * K : 2 + (g + 1) * K] = MATRIX[g]
    covariance = np.linalg.inv(np.eye(design.shape[1]) + design.T @ design / 0.3**2)
    mean = covariance @ design.T @ np.ravel(DATA) / 0.3**2
    for i, (name, scale) in enumerate((("floor", 0.5), ("mu", 1.0))):
        draws, width = found.samples[name], scale * np.sqrt(covariance[i, i])
        assert abs(draws.mean() - scale * mean[i]) < 5.0 * width / np.sqrt(N_DRAWS)
        assert draws.std() == pytest.approx(width, rel=5.0 / np.sqrt(2.0 * N_DRAWS))


@pytest.mark.parametrize("method", ["mgvi", "geovi"])
def test_members_one_by_one_or_all_at_once(monkeypatch, method):
    """Both ways to treat a curved model agree, and geoVI comes closer than MGVI."""
    arguments = (MATRIX, DATA + 0.02 * DATA**2, jnp.asarray(0.02))
    options = {"key": jax.random.key(3), "n_samples": N_DRAWS, "n_pairs": 16}
    whole = tg.infer(members, arguments, None, method, **options)
    monkeypatch.setattr(geometric, "_MOST_DENSE", 0)
    parts = tg.infer(members, arguments, None, method, **options)
    for name in ("mu", "floor", "z"):
        a, b = whole.samples[name], parts.samples[name]
        width = a.std(axis=0)
        assert np.all(np.abs(a.mean(axis=0) - b.mean(axis=0)) < 0.15 * width), name
        assert np.all(np.abs(b.std(axis=0) / width - 1.0) < 5.0 / np.sqrt(N_DRAWS)), name
    attrs = parts.inference_data.attrs
    assert attrs["kl_divergence"] < (0.05 if method == "geovi" else 0.2)


def amplitude(data):
    """What the members have of their own has an amplitude that they share."""
    log_scale = numpyro.sample("log_scale", dist.Normal(0.0, 1.0))
    with numpyro.plate("member", len(data)):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("data", dist.Normal(jnp.exp(log_scale) * z, 0.3), obs=data)


def test_what_is_shared_starts_at_its_marginal_mode():
    """Data have the variance s^2 + 0.09; the mode of all coordinates has a larger amplitude."""
    data = np.sqrt(0.25 + 0.09) * np.random.default_rng(2).normal(size=100)
    view = StandardTarget(Target(amplitude, (jnp.asarray(data, dtype=float),)))
    run = Approximation("geovi", view, geometric.GeometricOptions())
    mean = _search(_Programs(run, plate_structure(view)), jax.random.key(0), 2)
    grid = np.linspace(-3.0, 3.0, 6001)
    scale = np.exp(grid)
    size = np.sum(data**2)
    # given the scale each member is at its best z = s d / (s^2 + 0.09)
    joint = -0.5 * size / (scale**2 + 0.09) - 0.5 * grid**2
    marginal = joint - 0.5 * len(data) * np.log(scale**2 + 0.09)
    best = grid[np.argmax(marginal)]
    assert grid[np.argmax(joint)] > best + 0.5
    # the last step is 0.2
    assert mean.shared == pytest.approx(best, abs=0.2)
    expected = np.exp(mean.shared) * data / (np.exp(2.0 * mean.shared) + 0.09)
    np.testing.assert_allclose(mean.local[:, 0], expected, atol=0.01)


def test_draws_that_are_turned_are_the_same_in_distribution():
    view, structure = made(0.0)
    mean = Mean(jnp.zeros(2), jnp.zeros((G, K)))
    frame = frame_at(members, structure, mean, *view.arguments)
    y = _turned(frame, _normals(jax.random.key(1), 4000, mean, frame.there.prediction.shape))
    for x in (y.local, y.data):
        covariance = np.einsum("nga,ngb->gab", x, x) / len(x)
        expected = np.broadcast_to(np.eye(x.shape[2]), covariance.shape)
        # 4000 independent pairs
        np.testing.assert_allclose(covariance, expected, atol=5.0 * np.sqrt(2.0 / 4000))
    across = np.einsum("nga,ngb->gab", y.local, y.data) / len(y.data)
    np.testing.assert_allclose(across, 0.0, atol=5.0 / np.sqrt(4000))


def test_programs_that_are_compiled_ahead_are_those_that_run(monkeypatch):
    monkeypatch.setattr(geometric, "_MOST_DENSE", 0)
    # of a size that no other test has
    arguments = (MATRIX[:5], DATA[:5], jnp.zeros(()))
    with count_compilations() as count:
        tg.infer(members, arguments, None, "geovi", jax.random.key(2), n_samples=8)
    largest = [name for name in count.names if name in ("jit(draw_plated)", "jit(improve)")]
    assert sorted(largest) == ["jit(draw_plated)", "jit(improve)"]


def one_datum(data):
    x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([5]).to_event(1))
    numpyro.sample("data", dist.Normal(jnp.sum(x), 1.0), obs=data)


def two_plates(data):
    """The plate is not the first axis, and a likelihood is outside of the inner plate."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("member", 4, dim=-1):
        x = numpyro.sample("x", dist.Normal(mu, 1.0))
        numpyro.sample("one", dist.Normal(x, 1.0), obs=data[0])
        with numpyro.plate("epoch", 3, dim=-2):
            e = numpyro.sample("e", dist.Normal(0.0, 1.0))
            numpyro.sample("more", dist.Normal(x + e, 1.0), obs=data)


def test_which_plate_it_is():
    assert plate_structure(StandardTarget(Target(one_datum, (jnp.ones(()),)))) is None
    view = StandardTarget(Target(two_plates, (jnp.ones((3, 4)),)))
    structure = plate_structure(view)
    assert structure.size == 4
    assert dict(structure.local) == {"e": (3,), "x": ()}
    assert dict(zip([name for name, _ in structure.layout], structure.axes, strict=True)) == {
        "e": 1,
        "mu": None,
        "x": 0,
    }
    shared, local = structure.cut(jnp.arange(float(view.dimension)))
    found, predicted = member_likelihoods(two_plates, structure, shared, local, *view.arguments)
    assert found.shape == (4,) and predicted.shape == (4, 4)
