"""Removing heads from runs: ablation, its references, and the sweep engine. No metrics."""

from head_atlas.interventions.ablation import MODES as MODES
from head_atlas.interventions.ablation import Ablation as Ablation
from head_atlas.interventions.ablation import MeanReference as MeanReference
from head_atlas.interventions.ablation import Mode as Mode
from head_atlas.interventions.ablation import ablating as ablating
from head_atlas.interventions.references import mean_reference as mean_reference
from head_atlas.interventions.sweep import SweepBlock as SweepBlock
from head_atlas.interventions.sweep import sweep_rows as sweep_rows
