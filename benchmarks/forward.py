"""Time of one photometry prediction and its gradient on one core, beside BAGPIPES.

Usage::

    pip install bagpipes==1.3.6      # optional, for the comparison
    python benchmarks/forward.py

The script pins itself to one core. It times 20 bands from GALEX FUV to WISE W4 at z = 0.7, a
double power law and a Calzetti screen with birth clouds: single predictions, as a sampler on a
host sees them, and batches of 256, in 32 and 64 bit. The gradient is that of the summed fluxes in
all seven free parameters. BAGPIPES runs ``model_galaxy.update`` on the same bands, which is what
its fits call; it always adds dust emission, and it has no gradients. Numbers are microseconds per
prediction: the smallest and the median of several repeats.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# The core has to be chosen before JAX is imported.
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("NPROC", "4")  # XLA's thread pool may deadlock on fewer threads

import jax
import numpy as np

import tengri_ppl as tg

BANDS = [
    *("galex_FUV", "galex_NUV", "sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0"),
    *("twomass_J", "twomass_H", "twomass_Ks", "jwst_f115w", "jwst_f150w", "jwst_f200w"),
    *("jwst_f277w", "jwst_f356w", "jwst_f444w", "spitzer_irac_ch1", "spitzer_irac_ch2"),
    *("wise_w3", "wise_w4"),
]
REDSHIFT = 0.7
N_BATCH = 256
N_REPEAT = 15
SECONDS_PER_REPEAT = 0.2


class Timing(NamedTuple):
    """Microseconds per prediction."""

    best: float
    median: float


def measure(run: Callable[[int], Any], per_call: int = 1) -> Timing:
    """Time ``run(i)`` in repeats of about 0.2 s; ``per_call`` predictions are made by each call."""
    run(0)
    start = time.perf_counter()
    run(1)
    n = max(1, int(SECONDS_PER_REPEAT / (time.perf_counter() - start)))
    times = []
    for _ in range(N_REPEAT):
        start = time.perf_counter()
        for i in range(n):
            run(i)
        times.append((time.perf_counter() - start) / n / per_call * 1e6)
    return Timing(min(times), statistics.median(times))


def time_ours() -> dict[str, Timing]:
    """Predictions and gradients, single and batched, in the current precision."""
    spec = tg.Parameters(sfh="dpl", dust_law="calzetti", redshift=tg.Fixed(REDSHIFT))
    sed = tg.SEDModel(spec, tg.load_ssp_data(), tg.Observation(tg.Photometry.from_names(BANDS)))
    batch = spec.sample_batch(jax.random.key(0), N_BATCH)
    single = [{k: v[i] for k, v in batch.items()} for i in range(16)]

    def value(params: dict[str, jax.Array]) -> jax.Array:
        return sed.predict_photometry(params).sum() * 1e29

    gradient = jax.jit(jax.value_and_grad(value))
    gradients = jax.jit(jax.vmap(jax.value_and_grad(value)))
    wait = jax.block_until_ready
    return {
        "prediction, single": measure(lambda i: wait(sed.predict_photometry(single[i % 16]))),
        f"prediction, batch of {N_BATCH}": measure(
            lambda i: wait(sed.predict_photometry(batch)), N_BATCH
        ),
        "gradient, single": measure(lambda i: wait(gradient(single[i % 16]))),
        f"gradient, batch of {N_BATCH}": measure(lambda i: wait(gradients(batch)), N_BATCH),
    }


def time_bagpipes() -> Timing | None:
    """``model_galaxy.update`` with another history in each call; None if it is not installed."""
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # BAGPIPES reads filter curves relative to the working directory
        try:
            import bagpipes
        except ImportError:
            return None
        else:
            return measure(_bagpipes_update(bagpipes, Path(folder)))
        finally:
            os.chdir(start)


def _bagpipes_update(bagpipes: Any, folder: Path) -> Callable[[int], Any]:
    """Return a function that updates one galaxy with the i-th of 16 sets of parameters."""
    for name in BANDS:
        band = tg.load_filter(name)
        np.savetxt(folder / f"{name}.dat", np.column_stack([band.wave, band.transmission]))
    rng = np.random.default_rng(0)
    cases = [
        {
            "redshift": REDSHIFT,
            "t_bc": 0.01,
            "dblplaw": {
                "massformed": 10.0,
                "metallicity": 10.0 ** rng.uniform(-2.0, 0.4),
                "alpha": rng.uniform(0.1, 10.0),
                "beta": rng.uniform(0.1, 10.0),
                "tau": rng.uniform(0.1, 7.0),
            },
            "dust": {"type": "Calzetti", "Av": rng.uniform(0.0, 4.0), "eta": rng.uniform(1.0, 3.0)},
        }
        for _ in range(16)
    ]
    galaxy = bagpipes.model_galaxy(cases[0], filt_list=[f"{name}.dat" for name in BANDS])
    return lambda i: galaxy.update(cases[i % 16])


def main() -> None:
    """Print the table and the ratios."""
    print(f"{len(BANDS)} bands, one core, microseconds per prediction (best, median)\n")
    table: dict[str, dict[str, Timing]] = {}
    for bits in (32, 64):
        with jax.enable_x64(bits == 64):
            table[f"{bits} bit"] = time_ours()
    names = list(table["32 bit"])
    print(f"{'':28}" + "".join(f"{column:>22}" for column in table))
    for name in names:
        cells = [f"{rows[name].best:10.1f} {rows[name].median:10.1f}" for rows in table.values()]
        print(f"{name:28}" + "".join(f"{cell:>22}" for cell in cells))
    bagpipes = time_bagpipes()
    print(f"\n{'ratios of medians':28}" + "".join(f"{column:>22}" for column in table))
    single, batch, gradient, gradient_batch = names
    ratios = {
        "gradient / prediction, single": lambda r: r[gradient].median / r[single].median,
        "gradient / prediction, batch": lambda r: r[gradient_batch].median / r[batch].median,
    }
    if bagpipes is None:
        print("BAGPIPES is not installed: pip install bagpipes==1.3.6")
    else:
        print(f"{'BAGPIPES update':28}{bagpipes.best:11.1f} {bagpipes.median:10.1f}")
        ratios |= {
            "single / BAGPIPES": lambda r: r[single].median / bagpipes.median,
            "batch / BAGPIPES": lambda r: r[batch].median / bagpipes.median,
            "gradient, single / BAGPIPES": lambda r: r[gradient].median / bagpipes.median,
        }
    for name, ratio in ratios.items():
        print(f"{name:30}" + "".join(f"{ratio(rows):20.4f}" for rows in table.values()))


if __name__ == "__main__":
    main()
