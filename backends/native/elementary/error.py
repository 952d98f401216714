"""The error function, what it lacks of 1, and its inverse.

Coefficients are those of polynomials through the values of a function at the Chebyshev points of an
interval, computed with 60 digits; beside each stand the interval and the largest relative error.
"""

from __future__ import annotations

from math import inf
from typing import Any

from .exponential import clamped, minus_one, nan_of, reduced, scaled
from .logarithm import log
from .maths import Maths


def erf(m: Maths, x: Any) -> Any:
    """x + x (erf(x) / x - 1), or 1 - erfc(|x|) from 1 on."""
    size = m.size(x)
    far = m.sub(m.number(1), _tail(m, size))
    result = m.select(m.less(size, m.number(1)), _near(m, size), far)
    return nan_of(m, x, m.intrinsic("copysign", result, x))


def erfc(m: Maths, x: Any) -> Any:
    """1 - erf(x) where that is more than 1/2, and for a negative x 2 - erfc(-x)."""
    size, zero = m.size(x), m.number(0)
    near = m.sub(m.number(1), _near(m, x))
    tail = _tail(m, size)
    far = m.select(m.less(x, zero), m.sub(m.number(2), tail), tail)
    return nan_of(m, x, m.select(m.less(size, m.number(0.47)), near, far))


def _near(m: Maths, x: Any) -> Any:
    """Return erf(x) of an x between -1 and 1."""
    return m.fma(x, m.polynomial(m.mul(x, x), _NEAR_SHORT if m.short else _NEAR), x)


def _tail(m: Maths, x: Any) -> Any:
    """Return erfc(x) of an x from 0.45 on: exp(-x**2) times a polynomial over x + 1.5.

    What is lost where x is squared and where 1 is divided by x + 1.5 goes into the exponent.
    """
    one, middle, minus_three = m.number(1), m.number(1.5), m.number(-3)
    x = clamped(m, x, 0.0, 10.3 if m.short else 27.4)
    under = m.add(x, middle)
    over = m.div(one, under)
    t = m.fma(minus_three, over, m.number(0.625))
    square, lost = m.product_in_two(x, x)
    if not m.short:
        under_lost = m.sub(x, m.sub(under, middle))
        over_lost = m.fma(m.neg(under_lost), over, m.fma(m.neg(under), over, one))
        t = m.fma(m.mul(minus_three, over), over_lost, t)
        lost = m.sub(lost, over_lost)
    n, r = reduced(m, m.neg(square))
    less = minus_one(m, m.sub(r, lost))
    first, *others = _TAIL_SHORT if m.short else _TAIL
    series, first = m.polynomial(t, others), m.number(first)
    total = m.fma(series, t, first)
    factor, small = m.mul(total, over), m.number(0)
    if not m.short:
        total_lost = m.fma(series, t, m.sub(first, total))
        small = m.fma(total_lost, over, m.fma(total, over, m.neg(factor)))
    return scaled(m, m.add(factor, m.fma(factor, less, small)), n)


def erf_inv(m: Maths, x: Any) -> Any:
    """x times a function of w = -log(1 - x**2), or of its root where w is large."""
    w = m.neg(log(m, m.fma(m.neg(x), x, m.number(1))))
    root = m.intrinsic("sqrt", w)
    if m.short:
        pieces = [(5.0, root, 3.0, _INVERSE_SHORT_FAR)]
        nearest = _INVERSE_SHORT
    else:
        pieces = [(6.25, root, 3.25, _INVERSE_FAR), (16.0, root, 5.0, _INVERSE_FARTHEST)]
        nearest = _INVERSE
    v, coefficients = m.sub(w, m.number(1)), [m.number(c) for c in nearest]
    for border, variable, middle, others in pieces:
        # One polynomial, the coefficients of which are chosen.
        far = m.less(m.number(border), w)
        v = m.select(far, m.sub(variable, m.number(middle)), v)
        others = (*others, *[0.0] * (len(coefficients) - len(others)))
        coefficients = [
            m.select(far, m.number(b), a) for a, b in zip(coefficients, others, strict=True)
        ]
    result = m.mul(x, m.polynomial(v, coefficients))
    border = m.same(m.size(x), m.number(1))
    return m.select(border, m.intrinsic("copysign", m.number(inf), x), result)


_NEAR_SHORT = (
    0.12837916709467673,
    -0.3761263888963531,
    0.11283791308604582,
    -0.026866133235095593,
    0.005223783477189248,
    -0.0008542637997087229,
    0.0001195656256820733,
    -1.3909340021874599e-05,
    1.058938064107502e-06,
)
"""erf(x) / x - 1 of x**2 from 0 to 1, within 1.2e-09."""

_NEAR = (
    0.1283791670955126,
    -0.3761263890318375,
    0.11283791670954879,
    -0.026866170645076792,
    0.0052239776248180145,
    -0.000854832698083379,
    0.0001205533111164271,
    -1.4925595266831182e-05,
    1.6461000484121368e-06,
    -1.6350312701054695e-07,
    1.4659775274047436e-08,
    -1.1372848856791674e-09,
    5.957176147748911e-11,
)
"""erf(x) / x - 1 of x**2 from 0 to 1, within 1.7e-17."""

_TAIL_SHORT = (
    0.7872350282209786,
    -0.433624454105843,
    0.11761799521365819,
    0.022972436352421535,
    -0.023306506907484825,
    -0.004176460646420419,
    0.005716039541917997,
    0.002065986909237936,
    -0.001331689750828563,
    -0.0012025268174372771,
    -0.0002872565322691679,
)
"""(x + 1.5) exp(x**2) erfc(x) of 0.625 - 3 / (x + 1.5), for x from 0.45 to 10.3, within 6.2e-10."""

_TAIL = (
    0.7872350283500766,
    -0.43362445344017075,
    0.11761797097618137,
    0.022972272103835952,
    -0.02330595101184852,
    -0.004171108436244606,
    0.005717815320970536,
    0.0020147470614792426,
    -0.0014296457428005585,
    -0.001118574951686472,
    0.00016635180788335016,
    0.000526214111150196,
    0.00016554660359393593,
    -0.00015865964861217632,
    -0.00016646690126703576,
    -1.8453645187549502e-05,
    7.508001619934818e-05,
    5.946015764908604e-05,
    -1.5423853981825686e-07,
    -3.252553745514805e-05,
    -2.3172846179494788e-05,
    -4.994454892226646e-07,
    9.969915129978446e-06,
    7.41440511865406e-06,
    2.4796490245261878e-06,
    3.380722122503123e-07,
)
"""The same for x from 0.45 to 27.4, within 3.2e-18."""

_INVERSE_SHORT = (
    1.1273743937677916,
    0.24783287384408278,
    0.004250707465149456,
    -0.0023763906086864653,
    0.00010013571457321516,
    3.8229951372690266e-05,
    -4.305162874573113e-06,
    -5.686870646747488e-07,
    1.3833126629037283e-07,
    -2.0938122981783975e-09,
    -1.6031225435075253e-09,
    1.2346577114502573e-10,
)
"""erf_inv(x) / x of w = -log(1 - x**2), by w - 1 for w from 0 to 5, within 5.6e-10."""

_INVERSE_SHORT_FAR = (
    2.8329768014985133,
    1.001675278587254,
    0.009445305468991484,
    -0.007643610084128491,
    0.00568780451205518,
    -0.00356244260690153,
    0.0014736343618022942,
    -0.0001296787679369672,
    -0.0002727155122868809,
    0.00016734096499533958,
    -3.3921101043504567e-05,
)
"""The same by sqrt(w) - 3 for w from 5 to 16.4, within 2.9e-09."""

_INVERSE = (
    1.1273743936892278,
    0.24783287028621098,
    0.004250709244824657,
    -0.00237636995558002,
    0.00010012177623246317,
    3.820187249308998e-05,
    -4.275585725167116e-06,
    -5.652252378612291e-07,
    1.2231717735237196e-07,
    6.0401311063163845e-09,
    -3.024210907860416e-09,
    1.6609395200113548e-11,
    6.759586305084572e-11,
    -3.747774401770675e-12,
    -1.3515879325832787e-12,
    1.5191848866497212e-13,
    1.9871725054621303e-14,
    -1.2170126523419966e-15,
    -1.9222765350791507e-15,
    6.033537800039562e-16,
    -9.517183377366513e-17,
    9.345623045583805e-18,
    -5.839402780476197e-19,
    2.1519350300916827e-20,
    -3.5932028927020693e-22,
)
"""The same by w - 1 for w from 0 to 6.25, within 6.1e-18."""

_INVERSE_FAR = (
    3.0838856104922208,
    1.0052589676941655,
    0.005370914553555033,
    -0.0037512085082247342,
    0.00249144209795696,
    -0.0016882755354488555,
    0.0009532893415794137,
    -0.0003550378137852452,
    2.4031512865758357e-05,
    6.828711739251955e-05,
    -4.732068066544697e-05,
    1.2465028224217455e-05,
    2.93257845538535e-06,
    -3.985705945648173e-06,
    1.4815977874022539e-06,
    -2.761716223816241e-08,
    -2.4549818963339823e-07,
    1.3158663683192966e-07,
    -2.091453334773126e-08,
    -1.5305397964152548e-08,
    7.680200479077053e-09,
)
"""The same by sqrt(w) - 3.25 for w from 6.25 to 16, within 1.1e-18."""

_INVERSE_FARTHEST = (
    4.849906401408584,
    1.0103004648645448,
    -0.0001387193183802327,
    -0.00021503011980329156,
    7.599527809894209e-05,
    -1.968177112463216e-05,
    4.526052504540241e-06,
    -9.930260580756307e-07,
    2.2905292955975568e-07,
    -6.757032620612133e-08,
    2.901831210315565e-08,
    -1.521973066440248e-08,
    7.822040738410833e-09,
    -3.5249190822801067e-09,
    1.315363872459033e-09,
    -3.891029733762427e-10,
    6.991455005495576e-11,
    1.8836261943277935e-11,
    -2.0469026960933108e-11,
    5.0294638317171234e-12,
)
"""The same by sqrt(w) - 5 for w from 16 to 37.2, within 1e-18."""
