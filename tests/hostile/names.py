"""Names that a person mistypes, and names that somebody chooses to do harm: none may become a path, a command or a page."""

HOSTILE = [
    "", " ", "..", ".", "/", "../src", "../../src", "../../precious", "a/../../..", "/etc/passwd", "a/b", "a\\b", "C:", "~",
    "x; touch pwned", "$(touch pwned)", "`touch pwned`", "x && touch pwned", "x | touch pwned", "x > pwned", "x\ntouch pwned",
    "${seed}", "\\${seed}", "%s", "{0}", "*", "?", "[a]", "'", '"', "#", "!", "&", "=",
    "x; touch pwned #/../../../raw/mnist",  # a path that exists, and a command
    "nul\0", "new\nline", "tab\t", "bell\a", "\x1b[31mred", "\u202egnp.exe", "\u200b", "\ufeffx", "\ud800", "e\u0301",
    "\u00e4", "\u212a", "\uff41", "\u0661", "-h", "--help", "-", "_x", "1", "1x", "letters_v0.5", "my letters", "my-letters",
    " letters", "letters ", "letters\n", "a@b", "a:b", "train@mnist", "<img onerror=alert(1)>", "&amp;", "x" * 65, "x" * 300,
    "x" * 100_000,
]  # fmt: skip
RIGHT = ["a", "Z", "mnist", "punks_vae", "x" * 64, "a1_", "none", "con", "A_1"]
