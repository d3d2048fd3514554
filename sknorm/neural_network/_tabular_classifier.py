"""The classifier for tables as they come."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.optimize import minimize_scalar

from sknorm._validation import StrOptions, check_is_fitted
from sknorm.neural_network._classifier import BaseNetClassifier
from sknorm.neural_network._net import forward_rows
from sknorm.neural_network._tabular import BaseTabularNet, spread

__all__ = ["TabularNetClassifier", "find_temperature"]

# What is tried, from 1 % to a hundred times.
_LOG_TEMPERATURES = -4.6, 4.6

# As how many rows the belief that the network is sure of the right amount counts.
_PRIOR_ROWS = 10


class TabularNetClassifier(BaseTabularNet, BaseNetClassifier):
    r"""Classifier for tables of numbers, categories, booleans and dates as they come.

    Many networks in one, on embedded numbers and categories. Binary, multiclass and
    multilabel-indicator targets; labels of any dtype.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int or int, default=(256, 256)
        Width of each hidden block.
    architecture : {"mlp", "resnet"}, default="mlp"
        Blocks one after the other, or blocks that add to their input.
    activation : str, nn.Module, class or callable, default="relu"
        A name in :data:`sknorm.nn.activations.ACTIVATIONS`, a module class, a module
        or an elementwise tensor function.
    parametric_activation : bool, default=False
        Whether each unit learns how much of the activation it takes.
    norm : str, class, callable or None, default="none"
        A name in :data:`sknorm.nn.norms.NORMS`, or anything that makes a module from
        the number of features.
    norm_position : {"before", "after"}, default="before"
        Whether the norm layer stands before or after the activation.
    init : str, Initializer or callable, default="auto"
        A name in :data:`sknorm.nn.initializers.INITIALIZERS`, one of its classes with
        parameters, or a function that fills a tensor in place.
    bias_init : str, Initializer or callable, default="auto"
        How biases start; ``"auto"`` leaves it to ``init``.
    dropout : float, default=0.1
        Share of hidden activations set to zero in training, in [0, 1).
    embedding : str, Embedding, class, callable or None, default="ple"
        How numbers are embedded: a name in :data:`sknorm.nn.embeddings.EMBEDDINGS`, an
        embedding with parameters, such as ``PiecewiseLinear(n_bins=24)``, or what makes
        a module from the number of columns.
    n_members : int, default=16
        Number of networks in one, whose predictions are averaged.
    members : {"batch_ensemble", "mini", "independent"}, default="batch_ensemble"
        What members share: all weights but for scales of inputs and outputs of each
        layer and the last one; all but for one scale of each input and the last layer;
        or nothing.
    numeric : str, transformer or dict, default="quantile"
        What numbers are standardized with, see
        :class:`sknorm.preprocessing.TableStandardizer`.
    categorical_features : "auto" or array-like, default="auto"
        Names, positions or a mask of columns that are categories, whatever they hold.
        Columns of strings and of categorical dtypes are, named or not.
    optimizer : str or class, default="adamw"
        A torch optimizer: the name of its class in lower case, the class, or a
        ``functools.partial`` of it.
    optimizer_params : dict, default=None
        Further arguments of the optimizer.
    lr : float, default=5e-3
        Learning rate.
    lr_schedule : str, callable or class, default="cosine"
        How the learning rate moves, as for :class:`NormMLPClassifier`.
    weight_decay : float or "auto", default=3e-4
        Weight decay of the weight matrices, in the sense of the optimizer. ``"auto"``
        is ``0.006 / lr`` with AdamW and 0 with others.
    clip_grad_norm : float, default=1.0
        Largest norm of the gradient over all parameters. None doesn't clip.
    averaging : {"none", "ema", "polynomial", "swa"} or callable, default="polynomial"
        Whether the network predicts with an average of its weights over the steps, as
        for :class:`NormMLPClassifier`. The default looks back on a tenth of them:
        training that ends early, at a high learning rate, ends as well as one whose
        rate has fallen. Running statistics of batch norms are not averaged.
    max_epochs : int or "auto", default="auto"
        Passes over the data. ``"auto"`` takes what makes 4000 steps, with fewer than
        13 000 rows less by the root of their number; at least 10 and at most 100. From
        50 to 50 000 rows it first trains on four fifths, and then on all as far as the
        loss on the last fifth was least; below 2000 rows, as far as it was in the mean
        of three times, with other rows held out. Rows to validate on, if there are any,
        tell it in place of these: at the end the weights go back to those of the epoch
        that was best there. With ``warm_start`` later fits go as far as the first.
    batch_size : int or "auto", default="auto"
        Rows in a step. ``"auto"`` takes 32 with fewer than 256 rows, and else about
        one in 32 of them as a power of two, at least 64 and at most 256.
    early_stopping : bool, default=False
        Whether to stop when the loss on validation rows no longer falls, and go back
        to the weights that were best there.
    validation_fraction : float, default=0.1
        Share of the rows that ``early_stopping`` sets aside. Not used if ``fit`` is
        given ``X_val``.
    n_iter_no_change : int, default=16
        Epochs without improvement after which ``early_stopping`` stops.
    tol : float, default=0.0
        How much the validation loss has to fall to count as improvement.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the last ``fit``.
    callbacks : list of skorch callbacks, default=None
        Told of every epoch and batch.
    verbose : int, default=0
        1 draws a progress bar, 2 prints a line for each epoch.
    random_state : int, RandomState instance or None, default=None
        Seeds initial weights, order of rows, dropout and the validation split.
    device : str or torch.device, default="auto"
        Where to train: ``"auto"`` takes cuda, then mps, then cpu.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the network.
    amp : bool, default=False
        Whether training multiplies matrices in bfloat16, by ``torch.autocast``, on cuda
        or cpu. Weights, losses, validation and predictions stay in float32, which
        ``dtype`` has to be. There is no float16: its losses would have to be scaled.
    compile : bool, default=False
        Whether steps on cuda are recorded as a CUDA graph and played back, which is
        faster where layers are small. The first three steps of a call are taken as they
        come, and so are batches of another size than ``batch_size`` and all steps if a
        callback listens to batches. The optimizer, any of them, is not a part of the
        record. Elsewhere this does nothing: on a CPU compiled steps are not faster.
    label_smoothing : float, default=0.0
        How much of the target probability is spread evenly over all classes, in [0, 1).
    class_weight : dict or "balanced", default=None
        Weight of each class in the loss, at least 0 and 1 for those that a dict leaves
        out; ``"balanced"`` makes classes count alike. A dict can't be used with
        multilabel targets.
    calibration : {"none", "temperature"}, default="none"
        Whether logits are divided by the number that makes probabilities fit the
        validation rows best, held near 1 where these are few, see Notes. Needs
        ``early_stopping`` or ``X_val``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; for multilabel targets the column numbers.
    temperature_ : float
        What logits are divided by, 1 without calibration.
    table_ : TableStandardizer
        What makes numbers of the columns, fitted on the rows that were trained on.
    net_ : skorch.NeuralNet
        The skorch net, with ``module_``, ``optimizer_`` and ``save_params``.
    history_ : skorch.history.History
        What skorch records of each epoch.
    loss_curve_ : list of float
        Training loss of each epoch.
    validation_loss_curve_ : list of float or None
        Loss on the validation rows after each epoch; None without any.
    n_iter_ : int
        Number of epochs run by the last call of ``fit`` or ``partial_fit``.
    n_outputs_ : int
        Number of units in the last layer.
    device_ : str
        Where the network was trained.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X has string names for all.

    See Also
    --------
    TabularNetRegressor : The same network for real targets.
    NormMLPClassifier : For tables of numbers, without members and embeddings.

    Notes
    -----
    Columns may be numbers, categories, booleans and dates, with values missing in any
    of them; a :class:`sknorm.preprocessing.TableStandardizer` makes numbers of them,
    which learns from the rows that are trained on and from no others. Categories are
    one-hot encoded, or if there are many get a learned vector each.

    Members see the same rows and are trained by the mean of their losses.

    With ``calibration="temperature"`` logits are divided by the T that makes

    .. math:: n L(T) + 10 \left(\frac{1}{T} - 1 + \log T\right)

    smallest, where L is the mean log loss of n validation rows, or of rows of unequal
    weight :math:`n = (\sum w)^2 / \sum w^2`. The second term is 0 at T = 1 and a gamma
    prior on 1 / T with its mode there, worth ten rows. Without it a few rows that are
    all classified right would be likeliest at T = 0, which makes other rows that are
    classified wrong infinitely unlikely. Of thousands of rows it changes next to
    nothing.

    References
    ----------
    Y. Gorishniy, A. Kotelnikov and A. Babenko, "TabM: Advancing Tabular Deep Learning
    with Parameter-Efficient Ensembling", ICLR 2025.

    Y. Gorishniy, I. Rubachev and A. Babenko, "On Embeddings for Numerical Features in
    Tabular Deep Learning", NeurIPS 2022.

    C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural
    Networks", ICML 2017.

    Examples
    --------
    >>> import pandas as pd
    >>> from sknorm.neural_network import TabularNetClassifier
    >>> X = pd.DataFrame(
    ...     {"size": [1.0, 2.0, None, 4.0] * 10, "color": ["red", "blue"] * 20}
    ... )
    >>> y = ["small", "large"] * 20
    >>> model = TabularNetClassifier(32, n_members=4, max_epochs=20, random_state=0)
    >>> model.fit(X, y).predict(X[:4])
    array(['small', 'large', 'small', 'large'], dtype='<U5')
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseNetClassifier._parameter_constraints,
        **BaseTabularNet._parameter_constraints,
        "calibration": [StrOptions({"none", "temperature"})],
    }

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        architecture="mlp",
        activation="relu",
        parametric_activation=False,
        norm="none",
        norm_position="before",
        init="auto",
        bias_init="auto",
        dropout=0.1,
        embedding="ple",
        n_members=16,
        members="batch_ensemble",
        numeric="quantile",
        categorical_features="auto",
        optimizer="adamw",
        optimizer_params=None,
        lr=5e-3,
        lr_schedule="cosine",
        weight_decay=3e-4,
        clip_grad_norm=1.0,
        averaging="polynomial",
        max_epochs="auto",
        batch_size="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=16,
        tol=0.0,
        warm_start=False,
        callbacks=None,
        verbose=0,
        random_state=None,
        device="auto",
        dtype="float32",
        amp=False,
        compile=False,
        label_smoothing=0.0,
        class_weight=None,
        calibration="none",
    ):
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            norm=norm,
            norm_position=norm_position,
            init=init,
            bias_init=bias_init,
            dropout=dropout,
            optimizer=optimizer,
            optimizer_params=optimizer_params,
            lr=lr,
            lr_schedule=lr_schedule,
            weight_decay=weight_decay,
            clip_grad_norm=clip_grad_norm,
            averaging=averaging,
            max_epochs=max_epochs,
            batch_size=batch_size,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            callbacks=callbacks,
            verbose=verbose,
            random_state=random_state,
            device=device,
            dtype=dtype,
            amp=amp,
            compile=compile,
        )
        self.architecture = architecture
        self.parametric_activation = parametric_activation
        self.embedding = embedding
        self.n_members = n_members
        self.members = members
        self.numeric = numeric
        self.categorical_features = categorical_features
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.calibration = calibration

    def predict_proba(self, X, *, return_std=False):
        """Return the probability of each class, or of each label by itself.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Whether to return how far the members are apart too.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities in the order of ``classes_``, the mean over members.
        std : ndarray of the same shape
            Standard deviation of the members' probabilities, before calibration. Only
            if ``return_std``.

        Raises
        ------
        ValueError
            If ``return_std`` is asked of a network of one member.
        """
        check_is_fitted(self)
        if not return_std:
            return super().predict_proba(X)
        self._require_members("predict_proba")
        loss = self.net_.criterion_
        proba, std = [], []
        for members in forward_rows(self.net_.module_, self._inputs(X)):
            output = self._calibrated(loss.combine(members).cpu().numpy())
            proba.append(self._targets.probabilities(output))
            std.append(spread(loss.link(members)))
        return np.concatenate(proba), np.concatenate(std)

    def _output(self, X):
        return self._calibrated(super()._output(X))

    def _calibrated(self, output):
        return output if self.temperature_ == 1.0 else output / self.temperature_

    def _require_validation(self, valid):
        if self.calibration != "none" and valid is None:
            raise ValueError(
                f"calibration={self.calibration!r} fits probabilities to validation "
                "rows. Set early_stopping=True or pass X_val and y_val; partial_fit "
                "has none."
            )

    def _after_training(self, valid):
        self.temperature_ = 1.0
        if self.calibration != "none":
            loss = self._targets.loss(label_smoothing=0.0)
            output = self._combined(valid.X)
            self.temperature_ = find_temperature(output, valid.y, valid.weight, loss)


def find_temperature(output, target, weight, loss):
    """Return what logits are divided by to make rows likely, near 1 for a few rows.

    Parameters
    ----------
    output : Tensor of shape (n_rows, n_outputs)
        Logits.
    target : Tensor of shape (n_rows,) or (n_rows, n_outputs)
        What they should have said.
    weight : Tensor of shape (n_rows,) or None
        Weights of the rows, of mean 1.
    loss : Loss
        The log loss.

    Returns
    -------
    float
    """
    output, n_rows = output.double(), float(len(output))
    if weight is not None:
        # Kish's number: a row of great weight is evidence of one row.
        n_rows = float(weight.sum().square() / weight.square().sum())

    def objective(log_temperature):
        sureness = float(np.exp(-log_temperature))
        likelihood = n_rows * float(loss(sureness * output, target, weight))
        # Convex in the sureness, as the log loss is: there is one minimum.
        return likelihood + _PRIOR_ROWS * (sureness - 1.0 + log_temperature)

    best = minimize_scalar(objective, bounds=_LOG_TEMPERATURES, method="bounded")
    return float(np.exp(best.x))
