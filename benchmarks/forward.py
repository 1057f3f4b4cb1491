"""Time of one photometry prediction and its gradient on one core, beside BAGPIPES.

Usage::

    pip install bagpipes==1.3.6      # optional, for the comparison
    python benchmarks/forward.py

The script pins itself to one core. It times 20 bands from GALEX FUV to WISE W4 at z = 0.7, a
double power law and a Calzetti screen with birth clouds, and then ever more components, all with
their default priors: single predictions, as a sampler on a host sees them, and batches of 256. The
gradient is that of the summed fluxes in all free parameters. BAGPIPES runs
``model_galaxy.update`` with stars, attenuation and dust emission on the same bands, which is what
its fits call; it has no gradients. Numbers are microseconds per prediction: the smallest and the
median of several repeats.
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
STARS, WHOLE = "stars", "everything"
_GAS = {"nebular": "cloudy"}
_DUST = {**_GAS, "dust_emission": "draine_li2007"}
_AGN = {**_DUST, "agn": "nucleus"}
MODELS: dict[str, dict[str, str]] = {
    STARS: {},
    "+ nebular": _GAS,
    "+ Draine & Li 2007": _DUST,
    "+ AGN": _AGN,
    WHOLE: {
        **_AGN,
        "radio": "fir_correlation",
        "xray": "lehmer2016",
        "sfh_field": "drw",
        "sfh_burst": "constant",
    },
}
COLUMNS = ("single", "batch of 256", "gradient, single", "gradient, batch of 256")
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


def time_ours(components: dict[str, str]) -> list[Timing]:
    """Predictions and gradients, single and batched, in the order of `COLUMNS`."""
    redshift = tg.Fixed(REDSHIFT)
    spec = tg.Parameters(sfh="dpl", dust_law="calzetti", redshift=redshift, **components)
    sed = tg.SEDModel(spec, tg.load_ssp_data(), tg.Observation(tg.Photometry.from_names(BANDS)))
    batch = spec.sample_batch(jax.random.key(0), N_BATCH)
    single = [{k: v[i] for k, v in batch.items()} for i in range(16)]

    def value(params: dict[str, jax.Array]) -> jax.Array:
        return sed.predict_photometry(params).sum() * 1e29

    gradient = jax.jit(jax.value_and_grad(value))
    gradients = jax.jit(jax.vmap(jax.value_and_grad(value)))
    wait = jax.block_until_ready
    return [
        measure(lambda i: wait(sed.predict_photometry(single[i % 16]))),
        measure(lambda i: wait(sed.predict_photometry(batch)), N_BATCH),
        measure(lambda i: wait(gradient(single[i % 16]))),
        measure(lambda i: wait(gradients(batch)), N_BATCH),
    ]


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


def time_models() -> dict[str, list[Timing]]:
    """All models in 32 bit, the simplest and the whole one in 64 bit too."""
    rows = {f"{name}, 32 bit": time_ours(components) for name, components in MODELS.items()}
    with jax.enable_x64(True):
        for name in (STARS, WHOLE):
            rows[f"{name}, 64 bit"] = time_ours(MODELS[name])
    return rows


def print_rows(rows: dict[str, list[Timing]], bagpipes: Timing | None) -> None:
    """Print times, and the smallest of them in ratio to BAGPIPES, to predictions and to stars."""
    print(f"{'':30}" + "".join(f"{column:>22}" for column in COLUMNS))
    for name, timings in rows.items():
        cells = "".join(f"{t.best:12.1f}{t.median:10.1f}" for t in timings)
        print(f"{name:30}{cells}")
    if bagpipes is None:
        print("BAGPIPES is not installed: pip install bagpipes==1.3.6")
    else:
        print(f"{'BAGPIPES update':30}{bagpipes.best:12.1f}{bagpipes.median:10.1f}")
    print("\nratios of the smallest times")
    stars = rows[f"{STARS}, 32 bit"]
    for name, timings in rows.items():
        single, batch, gradient, gradients = (t.best for t in timings)
        ratios = {
            "gradient / prediction": f"{gradient / single:.2f}, batch {gradients / batch:.2f}",
            "to stars": f"{single / stars[0].best:.2f}, batch {batch / stars[1].best:.2f}",
        }
        if bagpipes is not None:
            whole, each = single / bagpipes.best, batch / bagpipes.best
            ratios["to BAGPIPES"] = f"{whole:.4f}, batch {each:.4f}"
        print(f"{name:30}" + "  ".join(f"{k} {v};" for k, v in ratios.items()))


def main() -> None:
    """Print times and ratios."""
    print(f"{len(BANDS)} bands, one core, microseconds per prediction (best, median)\n")
    print_rows(time_models(), time_bagpipes())


if __name__ == "__main__":
    main()
