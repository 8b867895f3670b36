"""One prompt on one loaded model."""

from head_atlas.live.attribution import Attribution as Attribution
from head_atlas.live.attribution import attribute as attribute
from head_atlas.live.cache import ModelCache as ModelCache
from head_atlas.live.experiment import Ablation as Ablation
from head_atlas.live.experiment import TokenChange as TokenChange
from head_atlas.live.experiment import ablate as ablate
from head_atlas.live.experiment import attention as attention
