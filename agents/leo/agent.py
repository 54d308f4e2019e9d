"""LEO (Rusu et al., Meta-Learning with Latent Embedding Optimization, ICLR 2019).

Agent `latent-maml`, in agents/maml/presets.py, takes from it the steps of a latent vector, and learns from rewards.
"""

from __future__ import annotations

from typing import ClassVar

from metarl.base.settings import Settings
from metarl.trials.registered import register_agent

from ..supervised.head_agent import HeadAgent
from .config import LEOConfig
from .head import LatentHead


@register_agent("leo")
class LEO(HeadAgent):
    """Decodes heads from codes of right answers, and adapts the codes (LEO, Rusu et al., ICLR 2019)."""

    Config: ClassVar[type[Settings]] = LEOConfig
    title = "leo"

    def make_head(self, size: int) -> LatentHead:
        """Return the head."""
        assert isinstance(self.config, LEOConfig)
        return LatentHead(self.config, self.answers, size)
