"""Outputs of mean 0, standard deviation 1 and correlation 0."""

from __future__ import annotations

from numbers import Integral, Real
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils.validation import check_array

from sknorm._array_api import detached, float_dtypes, is_dispatched
from sknorm._kernels.comoments import comoments
from sknorm._kernels.mixing import mix_columns, unmix_columns
from sknorm._validation import Interval, StrOptions
from sknorm.preprocessing._summary import SummaryStandardizer
from sknorm.statistics import Covariance

__all__ = ["WhiteningStandardizer"]

_EPS = float(np.finfo(np.float64).eps)
_LARGEST = float(np.finfo(np.float64).max)
# Those whose outputs are components, in order of variance, and not whitened columns.
_COMPONENTS = ("pca", "pca_cor")
# Those that go back from components to the axes of the columns.
_ROTATED_BACK = ("zca", "zca_cor")
# Those that standardize the columns before.
_STANDARDIZED = ("zca_cor", "pca_cor")
# Of unit vectors, below which the sign of an entry says nothing.
_TINY = 1e-8
# What is left of a column that depends on others, as a share of the smallest std.
_DEPENDENT = 1e-3


class WhiteningStandardizer(SummaryStandardizer):
    r"""Bring rows to mean 0 and the identity as their covariance matrix.

    Parameters
    ----------
    method : str, default="zca_cor"
        Which of the matrices that whiten is taken, see the notes: "zca_cor" or "zca"
        for outputs as close as possible to the columns, standardized or as they are;
        "pca_cor" or "pca" for principal components; "cholesky" for an order in which
        each output depends on its own column and later ones only.
    shrinkage : {"ledoit_wolf", "oas"}, float or None, default=None
        How far the covariance matrix, with "zca_cor" and "pca_cor" the correlation
        matrix, is shrunk toward a multiple of the identity: as Ledoit and Wolf or the
        oracle approximation of Chen et al. estimate it, by a number from 0 to 1, or
        not at all. Unless it is, a covariance estimated from few rows is whitened too
        well.
    n_components : int, float or None, default=None
        How many principal components are kept: a number, the fewest that make up a
        share of the variance between 0 and 1, or all. With "zca" and "zca_cor", which
        have an output for each column nevertheless, the directions of the others are
        mapped to 0. There are none with "cholesky".
    forgetting : float or None, default=None
        Factor in (0, 1] that ``partial_fit`` multiplies the weights of all earlier rows
        with, so that old batches fade; None is 1. A ``fit`` has nothing to forget.
    copy : bool, default=True
        Whether ``transform`` leaves its input alone. With False it writes the result
        into a writable float array that it is given, if there are as many outputs as
        columns.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features_in_,)
        Mean of each column; NaN for one without values.
    scale_ : ndarray of shape (n_features_in_,)
        Standard deviation of each column, 1 if it is constant up to rounding or has no
        values.
    whitening_ : ndarray of shape (n_outputs, n_features_in_)
        The matrix W. Columns that are constant or have no values are 0 in it. What is
        larger than any double, for subnormal columns, is the largest one in it, though
        not in ``transform``.
    coloring_ : ndarray of shape (n_features_in_, n_outputs)
        The matrix that ``inverse_transform`` multiplies with.
    explained_variance_ : ndarray of shape (n_components_,) or None
        Variance of each principal component before it is scaled to 1, after shrinkage;
        of standardized columns with "zca_cor" and "pca_cor". None with "cholesky".
    shrinkage_ : float
        The shrinkage that was applied.
    n_components_ : int
        Number of components kept.
    n_samples_seen_ : int
        Number of rows learned from, with a weight over 0 and nothing missing.
        Forgetting doesn't lower it.
    statistics_ : sknorm.statistics.Covariance
        The summary all this comes from.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X has string names for all.

    See Also
    --------
    Standardizer : Mean 0 and standard deviation 1, correlations left as they are.
    sklearn.decomposition.PCA : With ``whiten=True``, the method "pca".
    sknorm.statistics.Covariance : The statistics behind it.

    Notes
    -----
    Rows become :math:`z = W (x - \bar x)` with a matrix for which
    :math:`W S W^\top = I`. Here :math:`S` is the covariance matrix, of sums divided by
    the sum of weights, :math:`V` the diagonal matrix of variances and :math:`P` that of
    correlations, so that :math:`S = V^{1/2} P V^{1/2}`, and
    :math:`S = U \Lambda U^\top` and :math:`P = G \Theta G^\top` are their eigenvalues
    and eigenvectors.

    ============ ======================================= ==============================
    ``method``   W                                       what it is best at
    ============ ======================================= ==============================
    ``zca_cor``  :math:`P^{-1/2} V^{-1/2}`               correlation of z with x
    ``zca``      :math:`S^{-1/2}`                        covariance of z with x
    ``pca_cor``  :math:`\Theta^{-1/2} G^\top V^{-1/2}`   few z for all standardized x
    ``pca``      :math:`\Lambda^{-1/2} U^\top`           few z for all x
    ``cholesky`` :math:`L^\top`, :math:`L L^\top=S^{-1}` triangular W
    ============ ======================================= ==============================

    The first and the third don't depend on the units of the columns. Signs are those
    that make the diagonals of :math:`G` and :math:`U` positive, or the largest entry of
    an eigenvector whose entry there is 0. The variances behind components fall.

    **Shrinkage.** :math:`S` is replaced by :math:`(1 - \alpha) S + \alpha \mu I`, where
    :math:`\mu` is the mean variance, and :math:`P` by
    :math:`(1 - \alpha) P + \alpha I`. Weights count as repetitions in :math:`\alpha`.
    Ledoit and Wolf's takes fourth moments, which ``statistics_`` keeps for it: two more
    matrices, and about three times the work.

    **Not of full rank.** Where there are fewer rows than columns, or columns that are
    constant or determined by others, no matrix makes the covariance the identity.
    Directions without variance, up to what the rounding of doubles makes of it, are
    mapped to 0, also those of new rows that have some; with "cholesky" this is a column
    that later ones determine. The covariance of z then is a projection. With any
    shrinkage there are no such directions but constant columns. For "zca", "pca" and
    "cholesky" rounding is also what is left of a column that varies :math:`10^{15}`
    times less than another; give such columns one unit, or take a method that does.

    **Back.** ``inverse_transform`` multiplies with :math:`S W^\top`, the best linear
    prediction of x from z, which is the inverse of W or, without full rank or with
    fewer components, a pseudo-inverse: it restores all of x that z holds.

    **Missing values.** An output combines all columns, so that one missing value (NaN)
    leaves it unknown: it is NaN where it depends on what is missing. With "cholesky"
    and beside constant columns other outputs may be known, else the whole row is NaN.
    Rows with a missing value are not learned from, for covariances of different rows
    don't make up a matrix of covariances. Impute before, if there are many. A column
    without any value is left out. Infinite values are refused.

    Sums of products lose the digits of directions of small variance. Where they would,
    they are added up again for combinations of the columns that vary about equally, in
    one more pass over the rows: the covariance of z differs from the identity by about
    1e-16 times the ratio of the largest to the smallest *standard deviation* of any
    direction, at any offset. All is computed in float64 and rounded once, also for
    float32.

    References
    ----------
    A. Kessy, A. Lewin and K. Strimmer, "Optimal Whitening and Decorrelation", The
    American Statistician 72(4), 2018.

    O. Ledoit and M. Wolf, "A Well-Conditioned Estimator for Large-Dimensional
    Covariance Matrices", Journal of Multivariate Analysis 88(2), 2004.

    Y. Chen, A. Wiesel, Y. C. Eldar and A. O. Hero, "Shrinkage Algorithms for MMSE
    Covariance Estimation", IEEE Transactions on Signal Processing 58(10), 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sknorm.preprocessing import WhiteningStandardizer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 2)) @ [[1.0, 5.0], [0.0, 3.0]] + 1e6
    >>> Z = WhiteningStandardizer().fit_transform(X)
    >>> np.allclose(np.cov(Z.T, ddof=0), np.eye(2), rtol=0, atol=1e-10)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "method": [StrOptions({"zca", "zca_cor", "pca", "pca_cor", "cholesky"})],
        "shrinkage": [
            StrOptions({"ledoit_wolf", "oas"}),
            Interval(Real, 0, 1, closed="both"),
            None,
        ],
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
            None,
        ],
        "forgetting": [Interval(Real, 0, 1, closed="right"), None],
        "copy": ["boolean"],
    }

    _on_device: ClassVar[bool] = True

    def __init__(
        self,
        *,
        method="zca_cor",
        shrinkage=None,
        n_components=None,
        forgetting=None,
        copy=True,
    ):
        self.method = method
        self.shrinkage = shrinkage
        self.n_components = n_components
        self.forgetting = forgetting
        self.copy = copy

    def inverse_transform(self, X):
        """Bring whitened rows back to their own units, as far as they tell.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_outputs)
            Whitened rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features_in_)
            float32 if X is, else float64.
        """
        return super().inverse_transform(X)

    def _check_result(self, X):
        if self.method not in _COMPONENTS:
            return super()._check_result(X)
        # The columns aren't those of the input, neither by number nor by name.
        dtype = float_dtypes(X) if is_dispatched(X) else [np.float64, np.float32]
        X = check_array(detached(X), dtype=dtype, ensure_all_finite=False)
        if X.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {X.shape[1]} columns, but {type(self).__name__} has "
                f"{self.n_components_} components to bring back."
            )
        return X

    def get_feature_names_out(self, input_features=None):
        """Return the names of the outputs.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns; None for those seen in ``fit``, or "x0", "x1", ...

        Returns
        -------
        ndarray of str of shape (n_outputs,)
            The names of the columns, or "whiteningstandardizer0",
            "whiteningstandardizer1", ... for components.
        """
        if self.method not in _COMPONENTS:
            return super().get_feature_names_out(input_features)
        return ClassNamePrefixFeaturesOutMixin.get_feature_names_out(
            self, input_features
        )

    @property
    def _n_features_out(self):
        return self.n_components_

    def _summarize(self, X, weight):
        table = comoments(X, weight, higher=self.shrinkage == "ledoit_wolf")
        self._refuse_infinite(table.columns.infinite)
        return Covariance(table)

    def _learn(self, covariance):
        self._check_components()
        self._refuse_incomplete(covariance)
        self._warn_of_empty(~covariance.present)
        std = covariance.std()
        varies = ~covariance.moments.is_constant() & (std > 0)
        self.mean_ = covariance.mean.copy()
        self.scale_ = np.where(varies, std, 1.0)
        self.n_samples_seen_ = covariance.count
        self._set_matrices(covariance, np.flatnonzero(varies))

    def _set_matrices(self, covariance, columns):
        """Set what follows from the correlations of the columns that vary."""
        std = self.scale_[columns]
        unit = std.max(initial=0.0)
        size = np.ones_like(std) if self.method in _STANDARDIZED else std / unit
        unit = 1.0 if self.method in _STANDARDIZED else unit
        offset = np.abs(self.mean_[columns]) / std
        axes = _principal_axes(covariance.root[:, columns] * size, size, offset)
        self.shrinkage_ = self._find_shrinkage(covariance, columns)
        axes = axes.shrunk(self.shrinkage_, np.square(size).mean() if len(std) else 0.0)
        if self.method == "cholesky":
            self.n_components_, self.explained_variance_ = self.n_features_in_, None
            whitening = _cholesky(axes)
            coloring = axes.covariance_with(whitening)
        else:
            self.n_components_ = self._count_components(axes)
            kept = axes.first(self.n_components_)
            self.explained_variance_ = np.zeros(self.n_components_)
            with np.errstate(over="ignore", under="ignore"):
                self.explained_variance_[: len(kept.std)] = np.square(unit * kept.std)
            whitening = kept.inverse_std()[:, None] * kept.directions
            coloring = kept.directions.T * kept.std
        if self.method in _ROTATED_BACK:
            whitening = kept.directions.T @ whitening
            coloring = coloring @ kept.directions
        n_outputs, outputs = self.n_features_in_, columns
        if self.method in _COMPONENTS:
            n_outputs, outputs = self.n_components_, np.arange(len(whitening))
        # Of standardized columns, which leave the range of doubles nowhere.
        mixing = np.zeros((n_outputs, self.n_features_in_))
        mixing[np.ix_(outputs, columns)] = whitening * size
        unmixing = np.zeros(mixing.T.shape)
        unmixing[np.ix_(columns, outputs)] = coloring / size[:, None]
        self._matrices = mixing, unmixing
        with np.errstate(over="ignore", under="ignore"):
            whitening = mixing / self.scale_
            self.coloring_ = unmixing * self.scale_[:, None]
        self.whitening_ = np.clip(whitening, -_LARGEST, _LARGEST)

    def _find_shrinkage(self, covariance, columns):
        if self.shrinkage is None:
            return 0.0
        if not isinstance(self.shrinkage, str):
            return float(self.shrinkage)
        scale = np.full(self.n_features_in_, np.nan)
        standardized = self.method in _STANDARDIZED
        scale[columns] = self.scale_[columns] if standardized else 1.0
        return getattr(covariance, self.shrinkage)(scale)

    def _check_components(self):
        if self.n_components is None:
            return
        if self.method == "cholesky":
            raise ValueError(
                "The method 'cholesky' has no principal components to leave out. Got "
                f"n_components={self.n_components!r}: set it to None, or take another "
                "method."
            )
        if self.n_components > self.n_features_in_:
            raise ValueError(
                f"n_components={self.n_components!r} must be at most the number of "
                f"columns, which is {self.n_features_in_}."
            )

    def _count_components(self, axes):
        if self.n_components is None:
            return self.n_features_in_
        if isinstance(self.n_components, Integral):
            return int(self.n_components)
        variance = np.cumsum(np.square(axes.std))
        if not variance.any():
            return 1
        return int(np.searchsorted(variance / variance[-1], self.n_components)) + 1

    def _refuse_incomplete(self, covariance):
        if covariance.present.any() and not covariance.count:
            raise ValueError(
                "Every row of X lacks a value in one of the columns that have any, and "
                f"{type(self).__name__} learns from complete rows. Impute missing "
                "values before, or leave out the columns that lack most."
            )

    def _transform(self, X, out):
        return self._apply(
            mix_columns, X, self._matrices[0], out, self._refuse_infinite
        )

    def _inverse_transform(self, X, out):
        components = self.method in _COMPONENTS
        refuse = _refuse_infinite_components if components else self._refuse_infinite
        return self._apply(unmix_columns, X, self._matrices[1], out, refuse)

    def _apply(self, kernel, X, matrix, out, on_infinite):
        depends = matrix != 0
        if self.method not in _COMPONENTS:
            # What is missing stays so, also in a column that is mapped to 0.
            np.fill_diagonal(depends, True)
        if out is not None and out.shape[1] != len(matrix):
            out = None
        return kernel(X, self._center(), self.scale_, matrix, depends, out, on_infinite)

    def _center(self):
        remainder = np.nan_to_num(self.statistics_.moments.mean_remainder)
        # Below a unit in the last place of a whitened value it can't be seen.
        matters = np.abs(self._matrices[0] @ (remainder / self.scale_)) > _EPS
        return (self.mean_, remainder) if matters.any() else (self.mean_,)


class _Axes(NamedTuple):
    """Principal axes: directions, in rows, and standard deviations that fall."""

    std: np.ndarray
    directions: np.ndarray

    def first(self, n_axes):
        return _Axes(self.std[:n_axes], self.directions[:n_axes])

    def shrunk(self, shrinkage, mean_variance):
        if not shrinkage:
            return self
        variance = (1 - shrinkage) * np.square(self.std) + shrinkage * mean_variance
        return self._replace(std=np.sqrt(variance))

    def inverse_std(self):
        """Return what scales to variance 1, or to 0 what has none."""
        varies = self.std > 0
        return np.divide(1.0, self.std, out=np.zeros_like(self.std), where=varies)

    def covariance_with(self, whitening):
        """Return the covariance of the columns with what a matrix makes of them."""
        root = self.std[:, None] * self.directions
        return root.T @ (root @ whitening.T)


def _principal_axes(root, size, offset):
    """Return the axes of ``root.T @ root``, without variance where that is rounding.

    Parameters
    ----------
    root : ndarray of shape (n, n_columns)
        Root of a covariance matrix.
    size, offset : ndarray of shape (n_columns,)
        Standard deviations of the columns, and how many of them the mean is from 0,
        which is what values are rounded by.
    """
    n_columns = len(size)
    std = np.zeros(n_columns)
    if not root.size:
        return _Axes(std, np.eye(n_columns))
    _, found, directions = np.linalg.svd(root, full_matrices=True)
    std[: len(found)] = found
    rounding = np.linalg.norm(directions * (size * (offset + n_columns)), axis=1)
    rounding = np.maximum(2.0 * _EPS * rounding, n_columns * _EPS * std[0])
    std[std <= rounding] = 0.0
    diagonal = np.diag(directions)
    largest = np.abs(directions).argmax(axis=1)
    decides = np.where(
        np.abs(diagonal) > _TINY, diagonal, directions[np.arange(n_columns), largest]
    )
    return _Axes(std, np.sign(decides)[:, None] * directions)


def _cholesky(axes):
    """Return the upper triangular matrix that whitens.

    An output is what its column has that later ones don't explain. In the order from
    the last to the first that is a QR decomposition of the root.
    """
    root = axes.std[:, None] * axes.directions
    n_columns = root.shape[1]
    whitening = np.zeros((n_columns, n_columns))
    columns = _independent(root, axes.std)
    if len(columns):
        triangle = np.linalg.qr(root[:, columns], mode="r")
        triangle *= np.sign(np.diag(triangle))[:, None]
        inverse = solve_triangular(triangle, np.eye(len(columns)), trans="T")
        whitening[np.ix_(columns, columns)] = inverse
    return whitening


def _independent(root, std):
    """Return columns from the last to the first, but those determined by later ones."""
    n_columns = root.shape[1]
    if std.all():
        return np.arange(n_columns)[::-1]
    bound = _DEPENDENT * std[std > 0].min(initial=np.inf)
    basis = np.zeros((n_columns, 0))
    columns = []
    for j in reversed(range(n_columns)):
        rest = root[:, j]
        for _ in range(2):  # The second time takes off what rounding left.
            rest = rest - basis @ (basis.T @ rest)
        norm = np.linalg.norm(rest)
        if norm > bound:
            columns.append(j)
            basis = np.column_stack([basis, rest / norm])
    return np.array(columns, dtype=np.intp)


def _refuse_infinite_components(infinite):
    raise ValueError(
        "Input X contains infinity in the components "
        f"{np.flatnonzero(infinite).tolist()!r}. Only NaN is taken for a missing value."
    )
