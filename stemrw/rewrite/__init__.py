"""The rewriter: appends the runtime to an ELF file, leads function entries to their gates, and undoes all that.

It knows nothing of why a function was chosen.  `rewrite` and `revert` are pure; `write_output` puts files in place.
"""

from stemrw.rewrite._edited import Edited
from stemrw.rewrite._entry import Target
from stemrw.rewrite._output import write_output
from stemrw.rewrite._revert import restore, revert
from stemrw.rewrite._rewriter import Rewritten, find_payload, rewrite
from stemrw.rewrite._survey import survey

__all__ = ["Edited", "Rewritten", "Target", "find_payload", "restore", "revert", "rewrite", "survey", "write_output"]
