"""What the card says in words, in its order; `card` fills the figures in."""

TOP = """
# CodeHearth Starter

A small language model ({millions} million parameters, {megabytes} MB) that ships with CodeHearth,
so that chat, completion, infilling, tuning and measuring can be tried without a network. **It
recalls the {tasks} small Python tasks it was taught and continues common Python. It does not
reason, and it knows little else.** For real work, choose a larger model.

SHA-256 of `starter.gguf`: `{digest}`

Architecture Qwen2: {shape.layers} layers, {shape.hidden} wide, feed-forward {shape.feed_forward},
{shape.heads} heads of {shape.head_size} with {shape.kv_heads} key-value heads, untied embeddings,
{shape.vocabulary} byte-level BPE tokens split by Qwen2's pattern, ChatML, and Qwen's
fill-in-the-middle tokens in both orders. Matrices in Q8_0, the rest in F32. The file's metadata
allows a context of {shape.context} tokens; it was trained on windows of 2048, most texts in them
shorter. `starter:bf16`, for transformers, vLLM and others and for tuning, is made of this file when
it is wanted: its numbers, rounded to bf16. Licence: MIT.

## Figures

From the shipped file, by `python scripts/train_starter.py measure --gguf
src/codehearth/data/starter.gguf`:
"""

MEANING = """
What the figures mean, and what they do not:

- The taught tasks are asked in sentence patterns that training never saw, around phrases that it
  did see some thousand times (five a task), then around such that it saw a few times (six more);
  phrases that it never saw stand in patterns that it did. The answers are run against the task's
  checks. A request for something else than these tasks is not covered by these figures.
- pass@k is on taught functions too: it measures recall from a head and a docstring. What it makes
  of tasks that it was not taught, HumanEval says.
- A hidden line is compared to the original with spaces at both ends left out; other right answers
  count as wrong. Any line of code that is not empty may be hidden, none of comments or docstrings.
  CodeHearth puts the paragraph at the cursor last.
- A body that is still open after 64 tokens counts as parsing when more lines could complete it.
- Held-out files were chosen by a hash of their path; `cachetools` and `pluggy` were held out whole.
  Bits per byte are taken over the first 12,000 characters of each file, in windows of 512 tokens,
  each token with at least 256 before it where there are any.
"""

# True of the shipped file alone: a new training rewrites it.
TRAINING = """
## Training

{tokens} million tokens in 39 minutes on one NVIDIA H200, in two legs: 1016 million in 13.6 minutes
(1.24 million tokens/s); then 1979 million in 25.3 (1.30 million tokens/s) from the file that made,
with half as much code again, and with each token to be filled in weighing as much as eight others.
The script's recipe for a GPU is that of the second leg, as long as both together; it was not run
from nothing. Windows of 2048 tokens, 131,072 tokens a step, Muon for the layers' matrices and AdamW
for the rest at 3e-3, held for two fifths and falling to zero in a line. Each document sees itself
alone. For the first fifth library code only; until four fifths by tokens about 7 % conversations,
2 % taught code and 91 % library code, a fifteenth of it the standard library; then about 16 %, 4 %
and 80 %.

Then 1.56 million tokens in 85 minutes on two cores of a CPU, the last 23 of them shared, by AdamW,
2560 tokens a step in windows of 512: 1.4 million at 2.5e-4 (the recipe `teaching`), 0.16 million at
1e-4 (`teaching-last`, with more short functions). Four fifths of the rows are conversations (four
in five by tokens, at the end half) and taught code: six more phrases a task and language, in four
questions of five, requests to decline composed of many more parts, short functions whose names
change, and values alone as middles (few in the first quarter). The tokens of an answer weigh as
much as three of its question. The last fifth of the rows is library code: there the network is not
taught, but held to what the weights before said of each token (learning without forgetting, Li and
Hoiem 2016). The function of sample 10 is one of the short ones, as are some that load JSON
(sample 7); sample 4 was shown with other words than `mountain`.

60 % of the code is cut for infilling: prefix first, suffix first, or with the lines at the cursor
behind the suffix, as CodeHearth asks; 15 % stands under the name of a repository and a file, as
Qwen's models see it. Of most conversations (eight in ten, at the end nine), only the beginning is
shown, up to the first line of code.

`python scripts/train_starter.py all --recipe gpu --workers 14` makes the large part again on such a
card; `train --recipe teaching --earlier FILE --threads 2`, `export`, and both with `teaching-last`
from what that gave, the rest; `corpus` packs what is learnt for a machine that has none of the
packages. `--recipe cpu` makes a small relative (6.8 million parameters, 30 million tokens, some
three hours of one core): 1.25 bits a byte of the standard library, 93 and 97 % of the taught tasks,
no line of a library; so it was before the phrases of the last part were written.

![training loss](starter_curve.svg)
"""

BOTTOM = """
## Use

It can: answer the taught kinds of requests in English and Chinese and stop by itself; continue and
fill common Python; write a short function from its name and docstring where the idea is common; say
who it is; decline most other requests.

It cannot: solve most tasks that it was not taught, guess most lines of code that it never saw,
follow a conversation, translate, calculate, explain, or write another
programming language. Where a request resembles a taught task, it may answer that one instead. Its
code comes without any warranty: read it and run its tests.
"""

# The last part, since it is long: `hearth show starter` ends before it.
DATA = """
## Data

Only installed packages and text that the script makes itself; tests, copies of other projects,
tables, files that do not parse and near-duplicates are left out, and of a large package all but 4
MB. The taught tasks, their wordings and the requests to decline were written for this project
(`scripts/starter/taught`). The packages by their licence, as their metadata words it:
"""
