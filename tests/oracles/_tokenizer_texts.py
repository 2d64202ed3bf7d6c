"""Texts for the tokenizer oracles: what people write in many languages, code, and seeded nonsense."""

import random

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind; it's asleep.",
    "She'll say they've seen what I'm doing, won't she? WE'RE NOT SURE THAT HE'D AGREE.",
    "Quantum computers manipulate amplitudes, not probabilities, and measure only at the end.",
    "Der Fußgänger überquert die Straße, während der Löwe im Käfig gähnt.",
    "Où est la bibliothèque ? Elle est près de l'école, à côté du café.",
    "El niño comió una manzana y mañana comerá dos plátanos. ¿Verdad? ¡Sí!",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ο ουρανός είναι γαλανός και η θάλασσα ήσυχη.",
    "今天天气很好,我们去公园散步吧。明天可能会下雨。",
    "今日は良い天気ですね。公園へ散歩に行きましょう。カタカナとひらがな。",
    "오늘은 날씨가 좋아서 공원에 산책하러 갑니다.",
    "السماء صافية اليوم والهواء عليل في المدينة القديمة.",
    "השמש זורחת והציפורים שרות בגן.",
    "आज मौसम अच्छा है और बच्चे मैदान में खेल रहे हैं।",
    "วันนี้อากาศดีมาก เราไปเดินเล่นที่สวนกันเถอะ",
    "Hôm nay trời đẹp, chúng ta cùng đi dạo công viên nhé.",
    "def fibonacci(n):\n    a, b = 0, 1\n    while a < n:\n        yield a\n        a, b = b, a + b\n",
    "fn main() {\n\tlet xs: Vec<u32> = (0..10).map(|x| x * x).collect();\n\tprintln!(\"{xs:?}\");\n}\n",
    '{"name": "kvasir", "sizes": [1, 22, 333, 4444, 55555], "ok": true, "pi": 3.14159}',
    "for (int i = 0; i < 1000000; ++i) { sum += a[i] * b[i]; } // dot product",
    "Dates: 2024-02-29, 1999/12/31; prices: $1,234.56 or 99 cents; phone +1 (555) 010-9999.",
    "Emoji: 😀 👍🏽 👩‍👩‍👧‍👦 🇩🇪 🏳️‍🌈 and hearts ❤️ ❤ 💔.",
    "Math: ∀x ∈ ℝ, x² ≥ 0; ∑ᵢ aᵢ ≠ ∏ᵢ aᵢ; Ⅷ ½ ① ٣ ५.",
]

SPECIAL_CASES = [
    "",
    " ",
    "  ",
    "\n",
    "\r\n\r\n",
    "\t\ttabs\tand  spaces   of    growing     length" + " " * 40 + "end",
    " " * 200,
    "\n" * 70,
    "trailing spaces   ",
    "   leading spaces",
    "a\u00a0b\u2003c\u3000d\u200be\ufefff",
    "control: \x00 \x01 \x07 \x1b[31m \x7f \x85 \u2028 end",
    "e\u0301 n\u0303 A\u030a \u1e9b\u0323 \ufb01 \u212b \uac00\u11a8",
    "\U00010348\U0001f9ff\U000e0041\U0010ffff\ue000\ufffd",
    "0123456789 1 12 123 1234 12345 123456 1234567 ½⅓ ௧௨௩",
    "snake_case camelCase PascalCase kebab-case SCREAMING_SNAKE x1y2z3",
    "don't DON'T 'twas y'all'd've rock'n'roll ''' \"'\" 'S 'lL 'Re",
    "!!!???...;;;:::---===+++***///\\\\\\|||@@@###$$$%%%^^^&&&",
    "word" * 60,
    "a" * 300,
    "\u2581 the letter that stands for a space \u2581\u2581",
    "https://example.org/a/b?c=d&e=%20f#g user@example.org",
    "line one\nline two\r\nline three\rline four\n\n\n    indented\n",
]

POOLS = [
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789",
    "     \n\t\r",
    ".,;:!?'\"()[]{}<>/\\|@#$%^&*-_=+~`",
    "äöüßéèêñçøåœÆŁžšč",
    "абвгдежзийклмнопрст",
    "αβγδεζηθικλμνξοπρσ",
    "的一是不了人我在有他这中大来上国",
    "あいうえおかきくけこアイウエオ",
    "가나다라마바사아자차카",
    "ابتثجحخدذرز",
    "अआइईउऊएऐकखगघ\u093e\u093f\u0940",
    "\u0300\u0301\u0302\u0308\u030a\u0323\u200d\ufe0f",
    "😀😁😂🤣👍👩🏽🏳🇩🇪❤✨🔥",
    "\x00\x01\x0b\x0c\x1c\x1f\x7f\x80\x85\x9f\u00a0\u00ad\u2028\u2029",
]


def random_texts(count, seed, extra=()):
    """Texts with words from one pool, from several, or of any letters at all; `extra` texts are mixed in."""
    rng = random.Random(seed)

    def letter():
        while True:
            code = rng.choice([rng.randrange(0x80), rng.randrange(0x3000), rng.randrange(0x110000)])
            if not 0xD800 <= code < 0xE000:
                return chr(code)

    texts = []
    for _ in range(count):
        parts = []
        for _ in range(rng.randrange(1, 12)):
            kind = rng.randrange(8)
            if kind == 0:
                parts.append("".join(letter() for _ in range(rng.randrange(1, 6))))
            elif kind == 1 and extra:
                parts.append(rng.choice(list(extra)))
            elif kind == 2:
                parts.append(rng.choice(SENTENCES).split(" ")[0])
            elif kind == 3:
                parts.append(rng.choice([" ", "\n", "  "]) * rng.randrange(1, 9))
            else:
                pool = rng.choice(POOLS)
                parts.append("".join(rng.choice(pool) for _ in range(rng.randrange(1, 8))))
        texts.append("".join(parts))
    return texts


def all_texts(extra=(), seed=1):
    """Every text of an oracle. `extra` are special tokens, which also appear inside texts."""
    inside = [f"before {token} after{token}{token} \n{token}" for token in extra]
    inside += [token[:-1] for token in extra] + [f" {token} " for token in extra]
    paragraph = " ".join(SENTENCES)
    return SENTENCES + SPECIAL_CASES + inside + [paragraph] + random_texts(150, seed, extra)


def training_lines():
    """Text to train small vocabularies on: the sentences, and their words in other orders."""
    rng = random.Random(7)
    words = [word for sentence in SENTENCES for word in sentence.split(" ")]
    lines = list(SENTENCES) * 3
    for _ in range(300):
        lines.append(" ".join(rng.choice(words) for _ in range(rng.randrange(3, 15))))
    return lines
