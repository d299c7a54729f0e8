"""What is read or done in the browser as an event is sent: JavaScript, as Gradio takes it.

Goes in: what the viewer and the fields hold. Comes out: the inputs of a callback, or what a field shows.
"""

ROOT = "document.querySelector('#viewer .lens-viewer')"
STATE = f"{ROOT}?.viewer?.state()"
PICKED = f"() => {STATE}?.pick?.key ?? null"
LOOK = f"() => {STATE}?.look ?? null"
WANTED = f"() => {STATE}?.wanted ?? null"
PICK = f"(key) => {{ {ROOT}?.viewer?.pick(key || 'all'); }}"
# Details stand in the viewer's element: an event that has to wait is sent with the data of the one before.
_ASKED = "(run) => [run, JSON.parse({root}.dataset.{what} ?? 'null'), ({picked})(), ({wanted})()]"
# An example brings its question along.
CHOSEN_PICTURE = "JSON.parse(document.querySelector('#image .sources').dataset.value ?? 'null')"
# Who asks before the page has its example, or what was cut off, is heard once that is there: there would be
# no picture yet, and it would take the answer's place.
OPENED = "() => { document.body.dataset.open = ''; document.dispatchEvent(new Event('page-open')); }"
_ONCE_OPEN = """() => new Promise((done) => 'open' in document.body.dataset
    ? done() : document.addEventListener('page-open', done, { once: true }))"""
# Read where it is typed: an event can be sent with the value of the one before.
ASK_OR_EXPLAIN = "() => document.querySelector('#given textarea').value.trim() ? 'Explain ↵' : 'Ask ↵'"
EXAMPLE_PROMPT = f"() => {CHOSEN_PICTURE}?.prompt ?? null"
ANSWERED = f"() => [JSON.parse({ROOT}.dataset.answered ?? 'null')]"
# The id of the answer that is to be shown again, of the list of recent ones or of the conversation.
LISTED = "(_, mine) => [document.querySelector('.recent').dataset.wanted, mine]"
TURN = f"(_, mine) => [JSON.parse({ROOT}.dataset.turn).id, mine]"
# The question as it stands: the pictures that are chosen, and the id of the answer that it follows.
FOLLOWS = f"({ROOT}?.dataset.following === undefined ? null : {ROOT}.dataset.run)"
AS_IT_STANDS = f"(_, prompt, given, __, ...rest) => [{CHOSEN_PICTURE}, prompt, given, {FOLLOWS}, ...rest]"
# The question that was asked is known from now on, whatever is typed next.
ASK = f"""async (...sent) => {{
    await ({_ONCE_OPEN})();
    {ROOT}.dataset.sent = sent[1] ?? '';
    return ({AS_IT_STANDS})(...sent);
}}"""
# What its field holds as a conversation begins and ends.
ASKED_PROMPT = f"() => {ROOT}.dataset.question ?? ''"


def of_answer(what: str) -> str:
    """Return the JavaScript that gives a callback the same four, and what else it was called with."""
    return f"(run, _, __, ___, ...rest) => [...({asked(what)})(run), ...rest]"


def asked(what: str) -> str:
    """Return the JavaScript that gives a callback the answer's id, the details, the pick and the controls."""
    return _ASKED.format(root=ROOT, what=what, picked=PICKED, wanted=WANTED)
