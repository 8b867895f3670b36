"""One prompt on one loaded model."""

from head_atlas.live.all_heads import AllHeads as AllHeads
from head_atlas.live.all_heads import Standing as Standing
from head_atlas.live.all_heads import all_heads as all_heads
from head_atlas.live.attribution import Attribution as Attribution
from head_atlas.live.attribution import AttributionChange as AttributionChange
from head_atlas.live.attribution import AttributionStep as AttributionStep
from head_atlas.live.attribution import attribute as attribute
from head_atlas.live.attribution import attribution_change as attribution_change
from head_atlas.live.attribution import iter_attribute as iter_attribute
from head_atlas.live.cache import ModelCache as ModelCache
from head_atlas.live.experiment import Ablation as Ablation
from head_atlas.live.experiment import TokenChange as TokenChange
from head_atlas.live.experiment import ablate as ablate
from head_atlas.live.experiment import attention as attention
from head_atlas.live.faithfulness import Faithfulness as Faithfulness
from head_atlas.live.faithfulness import faithfulness as faithfulness
