"""Removing heads from runs: ablation, its references, and the sweep engine. No metrics."""

from head_atlas.interventions.ablation import Ablation as Ablation
from head_atlas.interventions.ablation import ablating as ablating
from head_atlas.interventions.first_order import first_order as first_order
from head_atlas.interventions.flops import Sizes as Sizes
from head_atlas.interventions.flops import sizes_of as sizes_of
from head_atlas.interventions.flops import sweep_flops as sweep_flops
from head_atlas.interventions.head_sets import SetBlock as SetBlock
from head_atlas.interventions.head_sets import set_rows as set_rows
from head_atlas.interventions.packing import Budget as Budget
from head_atlas.interventions.packing import budget_for as budget_for
from head_atlas.interventions.references import mean_reference as mean_reference
from head_atlas.interventions.references import resample_reference as resample_reference
from head_atlas.interventions.replacements import CORRUPTED as CORRUPTED
from head_atlas.interventions.replacements import MODES as MODES
from head_atlas.interventions.replacements import CorruptedReference as CorruptedReference
from head_atlas.interventions.replacements import MeanReference as MeanReference
from head_atlas.interventions.replacements import Mode as Mode
from head_atlas.interventions.replacements import Reference as Reference
from head_atlas.interventions.replacements import ResampleReference as ResampleReference
from head_atlas.interventions.sweep import SweepBlock as SweepBlock
from head_atlas.interventions.sweep import sweep_metric as sweep_metric
from head_atlas.interventions.sweep import sweep_rows as sweep_rows
