"""What JAX's transformations do for an SED model: jit, grad and vmap, alone and together.

Prints timings and saves three figures. Run it with ``--output DIR`` to choose where they go.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import tengri_ppl as tg

BANDS = ["sdss_u", "sdss_g", "sdss_r", "sdss_i", "sdss_z"]
PLANE = ("dust_tau_diff", "met_logzsol")  # the two parameters of the gradient figure
NUTS = {
    "n_warmup": 100,
    "n_samples": 100,
    "target_accept_rate": 0.85,
    "dense_mass_matrix": False,
    "verbose": False,
}


def build_model():
    """Return a seven-parameter model of a galaxy at z = 0.1 in the bands of SDSS."""
    spec = tg.Parameters(
        mean_sfh_type="dpl",
        sfh_dpl_log_peak_sfr=tg.Uniform(-1, 2.5),
        sfh_dpl_tau_gyr=tg.Uniform(0.1, 10),
        sfh_dpl_alpha=tg.Uniform(1, 10),
        sfh_dpl_beta=tg.Uniform(1, 10),
        met_logzsol=tg.Uniform(-2, 0.2),
        dust_tau_bc=tg.Uniform(0, 2),
        dust_tau_diff=tg.Uniform(0, 1.5),
        dust_slope=tg.Fixed(-0.7),
        redshift=tg.Fixed(0.1),
    )
    observation = tg.Observation(photometry=tg.Photometry.from_names(BANDS))
    return tg.SEDModel(spec, tg.load_ssp_data(), observation=observation)


def milliseconds(function, *args, repeats=10):
    """Return the median time of a call that was made once before [ms]."""
    jax.block_until_ready(function(*args))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def compare_jit(sed, params, folder):
    """Time one prediction compiled, and operation by operation."""

    def predict(params):
        return sed.predict_photometry(params, mode="compositional")

    compiled = milliseconds(predict, params)
    with jax.disable_jit():
        eager = milliseconds(predict, params, repeats=3)
    print(f"jit:  {compiled:.2f} ms compiled, {eager:.0f} ms operation by operation")

    figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
    bars = axes.barh(["operation by operation", "compiled"], [eager, compiled])
    axes.bar_label(bars, fmt="%.2g ms", padding=3)
    axes.set(xscale="log", xlabel="time of one prediction [ms]")
    axes.margins(x=0.2)
    save(figure, folder / "jit.png")


def make_log_likelihood(sed, params):
    """Return the log-likelihood of mock data, made once, with errors of 10 %."""
    data = sed.predict_photometry(params, mode="compositional")
    error = 0.1 * data

    # The model is an argument: its grid, were it a constant of the program, would slow compilation.
    def log_likelihood(sed, params):
        residual = (sed.predict_photometry(params, mode="compositional") - data) / error
        return -0.5 * jnp.sum(residual**2)

    return log_likelihood


def compare_grad(sed, log_likelihood, params):
    """Time the likelihood, and its value with the gradient in all parameters."""
    value = milliseconds(jax.jit(log_likelihood), sed, params)
    both = milliseconds(jax.jit(jax.value_and_grad(log_likelihood, argnums=1)), sed, params)
    print(
        f"grad: {value:.2f} ms for the value, {both:.2f} ms with {len(params)} derivatives "
        f"({both / value:.1f}x)"
    )


def plot_gradient_field(sed, log_likelihood, params, folder, n=30):
    """Draw the log-likelihood and its gradient in a plane of two parameters through the truth."""
    x, y = jnp.linspace(0.01, 1.5, n), jnp.linspace(-2.0, 0.2, n)

    def in_plane(sed, point):
        return log_likelihood(sed, {**params, **dict(zip(PLANE, point, strict=True))})

    # grad gives the field at a point, two vmaps spread it over the grid, jit compiles it all.
    field = jax.value_and_grad(in_plane, argnums=1)
    row = jax.vmap(field, in_axes=(None, (0, None)))
    grid = jax.jit(jax.vmap(row, in_axes=(None, (None, 0))))
    start = time.perf_counter()
    value, (slope_x, slope_y) = jax.block_until_ready(grid(sed, (x, y)))
    print(f"      {n * n} gradients in {time.perf_counter() - start:.1f} s, compilation included")

    # Slopes in units of the axes, so that arrows point uphill in the figure.
    u, v = np.asarray(slope_x) * np.ptp(x), np.asarray(slope_y) * np.ptp(y)
    length = np.maximum(np.hypot(u, v), 1e-12)
    figure, axes = plt.subplots(figsize=(6.5, 4.5), layout="constrained")
    contours = axes.contourf(x, y, -np.log10(1.0 - np.asarray(value)), levels=15)
    every = (slice(None, None, 3), slice(None, None, 3))
    axes.quiver(x[::3], y[::3], (u / length)[every], (v / length)[every], color="white", scale=30)
    axes.plot(*(params[name] for name in PLANE), "r*", markersize=15, label="truth")
    axes.set(xlabel=PLANE[0], ylabel=PLANE[1])
    axes.legend()
    figure.colorbar(contours, label="-log10(1 - log-likelihood)")
    save(figure, folder / "gradient_field.png")


def compare_vmap(sed, folder):
    """Time batches of galaxies, mapped and in a Python loop."""

    def predict(sed, params):
        return sed.predict_photometry(params, mode="compositional")

    batched = jax.jit(jax.vmap(predict, in_axes=(None, 0)))
    sizes, mapped, looped = [1, 10, 100], [], []
    for n in sizes:
        batch = sed.spec.sample_batch(jax.random.key(n), n)
        galaxies = [{name: value[i] for name, value in batch.items()} for i in range(n)]
        mapped.append(milliseconds(batched, sed, batch, repeats=3) / n)
        looped.append(milliseconds(lambda g=galaxies: [predict(sed, p) for p in g], repeats=1) / n)
        print(f"vmap: {n:3d} galaxies, {mapped[-1]:.2f} ms each mapped, {looped[-1]:.2f} in a loop")

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.loglog(sizes, looped, "s--", label="Python loop")
    axes.loglog(sizes, mapped, "o-", label="vmap")
    axes.set(xlabel="galaxies", ylabel="time per galaxy [ms]")
    axes.legend()
    save(figure, folder / "vmap.png")


def compose(sed, log_likelihood):
    """Evaluate the gradients of a hundred galaxies' likelihoods in one program."""
    batch = sed.spec.sample_batch(jax.random.key(123), 100)
    gradient = jax.value_and_grad(log_likelihood, argnums=1)
    program = jax.jit(jax.vmap(gradient, in_axes=(None, 0)))
    took = milliseconds(program, sed, batch, repeats=3)
    values, _ = program(sed, batch)
    print(
        f"jit(vmap(grad)): {took:.0f} ms for {values.size} galaxies, "
        f"median log-likelihood {float(jnp.median(values)):.3g}"
    )


def compare_sampling(sed, params):
    """Run NUTS twice: only the first run compiles."""
    data = sed.predict_photometry(params, mode="compositional")
    fitter = tg.Fitter(sed, data, 0.05 * data)
    for label, seed in (("first, with compilation", 0), ("second", 1)):
        start = time.perf_counter()
        posterior = fitter.run("mcmc_nuts", key=jax.random.key(seed), **NUTS)
        took = time.perf_counter() - start
        mean = float(np.mean(posterior.samples["dust_tau_diff"]))
        print(f"NUTS: {took:.1f} s ({label}), mean dust_tau_diff {mean:.2f}")


def save(figure, path):
    """Write a figure and close it."""
    figure.savefig(path, dpi=150)
    plt.close(figure)
    print(f"      figure: {path}")


def main():
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/examples"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)

    sed = build_model()
    params = sed.spec.sample(jax.random.key(42))
    print(f"{len(sed.spec.free_params)} free parameters: {', '.join(sed.spec.free_params)}")
    compare_jit(sed, params, folder)
    log_likelihood = make_log_likelihood(sed, params)
    compare_grad(sed, log_likelihood, params)
    plot_gradient_field(sed, log_likelihood, params, folder)
    compare_vmap(sed, folder)
    compose(sed, log_likelihood)
    compare_sampling(sed, params)


if __name__ == "__main__":
    main()
