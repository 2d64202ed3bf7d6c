//! Random functions in the subset of C that means the same on x86 and on gfx942.

use std::fmt::Write;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// 32-bit words of input per thread.
pub const NUM_INPUT_WORDS: usize = 8;
/// 64-bit words of output per thread: the hash of everything, then the function's first variables.
pub const NUM_OUTPUT_WORDS: usize = 12;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Type {
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
    F16,
}

use Type::{F16, F32, F64, I32, I64, U32, U64};

const TYPES: [Type; 7] = [I32, U32, I64, U64, F32, F64, F16];

impl Type {
    fn name(self) -> &'static str {
        match self {
            I32 => "i32",
            U32 => "u32",
            I64 => "i64",
            U64 => "u64",
            F32 => "f32",
            F64 => "f64",
            F16 => "f16",
        }
    }

    fn is_integer(self) -> bool {
        matches!(self, I32 | U32 | I64 | U64)
    }
}

/// Two functions with an exchange through LDS between them, as text.
///
/// `before_N(in)` gives a value; after a barrier each thread hands its value to another one, and
/// `after_N(in, own, other)` makes the result.
pub fn function(index: usize, seed: u64) -> String {
    let mut writer = Writer::new(seed);
    let attribute = if index.is_multiple_of(3) { "NOINLINE " } else { "" };
    let mut text = String::new();
    let before = writer.body(&[]);
    writeln!(text, "DEVICE {attribute}u64 before_{index}(const u32 *in) {{\n{before}}}").unwrap();
    let after = writer.body(&["own", "other"]);
    let parameters = "const u32 *in, u64 own, u64 other, u64 *out";
    writeln!(text, "DEVICE {attribute}u64 after_{index}({parameters}) {{\n{after}}}").unwrap();
    text
}

/// One random function being written.
struct Writer {
    rng: StdRng,
    variables: Vec<(String, Type)>,
    num_variables: usize,
    indent: usize,
    text: String,
}

impl Writer {
    fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, variables: Vec::new(), num_variables: 0, indent: 1, text: String::new() }
    }

    /// A function's body; `words` are the 64-bit parameters that it reads beside `in`.
    fn body(&mut self, words: &[&str]) -> String {
        self.variables = words.iter().map(|&name| (name.to_owned(), U64)).collect();
        self.text.clear();
        for ty in TYPES {
            let value = self.leaf(ty);
            self.declare(ty, &value);
        }
        self.line("u32 table[8] = {in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7]};");
        for _ in 0..self.rng.random_range(4..9) {
            self.statement(3);
        }
        self.line("u64 hash = 1;");
        for (name, ty) in self.variables.clone() {
            self.line(&format!("hash = mix(hash, bits_{}({name}));", ty.name()));
        }
        self.line("for (u32 k = 0; k < 8; k++) hash = mix(hash, table[k]);");
        if !words.is_empty() {
            for (i, (name, ty)) in (1..NUM_OUTPUT_WORDS).zip(self.variables.clone()) {
                self.line(&format!("out[{i}] = bits_{}({name});", ty.name()));
            }
        }
        self.line("return hash;");
        std::mem::take(&mut self.text)
    }

    fn line(&mut self, line: &str) {
        let indent = "    ".repeat(self.indent);
        writeln!(self.text, "{indent}{line}").unwrap();
    }

    fn declare(&mut self, ty: Type, value: &str) {
        let name = format!("v{}", self.num_variables);
        self.num_variables += 1;
        self.line(&format!("{} {name} = {value};", ty.name()));
        self.variables.push((name, ty));
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())]
    }

    fn statement(&mut self, depth: usize) {
        match self.rng.random_range(0..12) {
            0..5 => self.assignment(),
            5 => {
                let ty = self.pick(&TYPES);
                let value = self.expression(ty, 3);
                self.declare(ty, &value);
            }
            6 => {
                let (at, value) = (self.expression(U32, 2), self.expression(U32, 3));
                self.line(&format!("table[{at} & 7] ^= {value};"));
            }
            7 | 8 if depth > 0 => self.branch(depth),
            9 | 10 if depth > 0 => self.repeat(depth),
            11 if depth > 0 => self.switch(depth),
            _ => self.assignment(),
        }
    }

    fn assignment(&mut self) {
        let writable: Vec<_> =
            self.variables.iter().filter(|(name, _)| name.starts_with('v')).cloned().collect();
        let (name, ty) = writable[self.rng.random_range(0..writable.len())].clone();
        let value = self.expression(ty, 4);
        self.line(&format!("{name} = {value};"));
    }

    fn block(&mut self, head: &str, num_statements: usize, depth: usize, tail: &str) {
        self.line(head);
        self.indent += 1;
        let outer = self.variables.len();
        for _ in 0..num_statements {
            self.statement(depth - 1);
        }
        self.variables.truncate(outer);
        if !tail.is_empty() {
            self.line(tail);
        }
        self.indent -= 1;
    }

    fn branch(&mut self, depth: usize) {
        let condition = self.condition(3);
        let n = self.rng.random_range(1..4);
        self.block(&format!("if ({condition}) {{"), n, depth, "");
        if self.rng.random_bool(0.5) {
            self.block("} else {", n, depth, "");
        }
        self.line("}");
    }

    fn repeat(&mut self, depth: usize) {
        let counter = format!("k{}", self.num_variables);
        self.num_variables += 1;
        let bound = self.expression(U32, 2);
        let n = self.rng.random_range(1..4);
        let tail = match self.rng.random_range(0..3) {
            0 => format!("if ({}) break;", self.condition(2)),
            1 => format!("if ({}) continue;", self.condition(2)),
            _ => String::new(),
        };
        let head = format!(
            "for (u32 {counter} = 0, n = ({bound} & 7) + 1; {counter} < n; {counter}++) {{"
        );
        self.variables.push((counter, U32));
        self.block(&head, n, depth, &tail);
        self.variables.pop();
        self.line("}");
    }

    fn switch(&mut self, depth: usize) {
        let value = self.expression(U32, 2);
        self.line(&format!("switch ({value} & 3) {{"));
        for case in ["case 0:", "case 1:", "default:"] {
            let falls = self.rng.random_bool(0.3);
            self.block(&format!("{case} {{"), 1, depth, if falls { "" } else { "break;" });
            self.line("} // fallthrough");
        }
        self.line("}");
    }

    fn condition(&mut self, depth: usize) -> String {
        let ty = self.pick(&TYPES);
        let compare = self.pick(&["<", "<=", ">", ">=", "==", "!="]);
        let (a, b) = (self.expression(ty, depth - 1), self.expression(ty, depth - 1));
        let first = format!("({a} {compare} {b})");
        match self.rng.random_range(0..4) {
            0 if depth > 1 => format!("({first} && {})", self.condition(depth - 1)),
            1 if depth > 1 => format!("({first} || !{})", self.condition(depth - 1)),
            _ => first,
        }
    }

    /// A variable, an input or a constant.
    fn leaf(&mut self, ty: Type) -> String {
        let same: Vec<_> = self.variables.iter().filter(|v| v.1 == ty).cloned().collect();
        if !same.is_empty() && self.rng.random_bool(0.6) {
            return same[self.rng.random_range(0..same.len())].0.clone();
        }
        if self.rng.random_bool(0.4) {
            return self.constant(ty);
        }
        let word = self.rng.random_range(0..NUM_INPUT_WORDS);
        let next = (word + 3) % NUM_INPUT_WORDS;
        match ty {
            I32 => match self.rng.random_range(0..3) {
                0 => format!("(i32)((const i8 *)in)[{}]", word * 4 + next % 4),
                1 => format!("(i32)((const i16 *)in)[{}]", word * 2 + next % 2),
                _ => format!("(i32)in[{word}]"),
            },
            U32 => match self.rng.random_range(0..3) {
                0 => format!("(u32)((const u8 *)in)[{}]", word * 4 + next % 4),
                1 => format!("(u32)((const u16 *)in)[{}]", word * 2 + next % 2),
                _ => format!("in[{word}]"),
            },
            I64 => format!("(i64)((u64)in[{word}] << 32 | in[{next}])"),
            U64 => format!("((u64)in[{word}] << 32 | in[{next}])"),
            F32 => format!("from_bits_f32(in[{word}])"),
            F64 => format!("from_bits_f64((u64)in[{word}] << 32 | in[{next}])"),
            F16 => format!("from_bits_f16((u16)in[{word}])"),
        }
    }

    fn constant(&mut self, ty: Type) -> String {
        let integer: i64 = match self.rng.random_range(0..3) {
            0 => self.rng.random_range(-20..70),
            1 => i64::from(self.rng.random::<i32>()),
            _ => self.rng.random(),
        };
        match ty {
            I32 => format!("(i32){:#x}u", integer as u32),
            U32 => format!("{:#x}u", integer as u32),
            I64 => format!("(i64){:#x}ull", integer as u64),
            U64 => format!("{:#x}ull", integer as u64),
            F32 | F64 | F16 => {
                let common =
                    [0.5, 1.0, 2.0, 4.0, -1.0, -4.0, 0.0, 3.25, 1e-6, 65504.0, 0.159_154_94];
                let value: f64 = match self.rng.random_range(0..2) {
                    0 => self.pick(&common),
                    _ => self.rng.random_range(-1000.0..1000.0),
                };
                format!("({}){value:?}", ty.name())
            }
        }
    }

    fn expression(&mut self, ty: Type, depth: usize) -> String {
        if depth == 0 || self.rng.random_bool(0.1) {
            return self.leaf(ty);
        }
        match self.rng.random_range(0..10) {
            0 => self.conversion(ty, depth - 1),
            1 => {
                let condition = self.condition(depth.min(2));
                let (a, b) = (self.expression(ty, depth - 1), self.expression(ty, depth - 1));
                format!("({condition} ? {a} : {b})")
            }
            _ if ty.is_integer() => self.integer(ty, depth - 1),
            _ => self.float(ty, depth - 1),
        }
    }

    fn integer(&mut self, ty: Type, depth: usize) -> String {
        let name = ty.name();
        let mut arg = |ty| self.expression(ty, depth);
        let (a, b) = (arg(ty), arg(ty));
        let n = arg(U32);
        match self.rng.random_range(0..16) {
            0..3 => format!("{}_{name}({a}, {b})", self.pick(&["add", "sub", "mul"])),
            // LLVM 21 loses the high half of `(condition ? C : D) | x`, with 64-bit constants whose high half is all ones.
            3 | 4 if matches!(ty, I64 | U64) => format!("({a} {} {b})", self.pick(&["&", "^"])),
            3 | 4 => format!("({a} {} {b})", self.pick(&["&", "|", "^"])),
            5 | 6 => format!("{}_{name}({a}, {n})", self.pick(&["shl", "shr", "rotate"])),
            7 => format!("{}_{name}({a}, {b})", self.pick(&["div", "rem"])),
            8 => format!("(~{a})"),
            9 | 10 => format!("{}_{name}({a}, {b})", self.pick(&["least", "most"])),
            11 => format!("({name})({}){a}", self.pick(&["u8", "i8", "u16", "i16"])),
            _ => match ty {
                U32 => self.unsigned_32(&a, &b, &n),
                I32 => format!("{}({a}, {b})", self.pick(&["mul_high_i32", "mul_24_i32"])),
                U64 => format!("mul_high_u64({a}, {b})"),
                _ => format!("add_{name}({a}, sub_{name}(0, {b}))"),
            },
        }
    }

    fn unsigned_32(&mut self, a: &str, b: &str, n: &str) -> String {
        match self.rng.random_range(0..10) {
            0 => format!("mul_high_u32({a}, {b})"),
            1 => format!("mul_24_u32({a}, {b})"),
            2 => format!("field_u32({a}, {b}, {n})"),
            3 => format!("blend_u32({a}, {b}, {n})"),
            4 => format!("leading_zeros({a})"),
            5 => format!("trailing_zeros({a})"),
            6 => format!("swap_bytes({a})"),
            7 => format!("ones({a})"),
            8 => format!("table[{a} & 7]"),
            _ => format!("ones_64(((u64){a} << 32 | {b}) ^ leading_zeros_64({n}))"),
        }
    }

    fn float(&mut self, ty: Type, depth: usize) -> String {
        let name = ty.name();
        let mut arg = || self.expression(ty, depth);
        let (a, b) = (arg(), arg());
        if ty == F16 {
            return match self.rng.random_range(0..8) {
                0..5 => format!("(f16)({a} {} {b})", self.pick(&["+", "-", "*"])),
                5 => format!("div_f16({a}, {b})"),
                6 => format!("(f16)__builtin_sqrtf((f32){a})"),
                _ => format!("{}_f16({a}, {b})", self.pick(&["least", "most"])),
            };
        }
        let suffix = if ty == F32 { "f" } else { "" };
        match self.rng.random_range(0..12) {
            0..4 => format!("({a} {} {b})", self.pick(&["+", "-", "*"])),
            4 | 5 => format!("div_{name}({a}, {b})"),
            6 => format!("__builtin_fma{suffix}({a}, {b}, {})", self.expression(ty, depth)),
            7 => format!("__builtin_sqrt{suffix}({a})"),
            8 => {
                let function = self.pick(&["floor", "ceil", "trunc", "rint", "fabs"]);
                format!("__builtin_{function}{suffix}({a})")
            }
            9 => format!("{}_{name}({a}, {b})", self.pick(&["min", "max", "least", "most"])),
            10 => format!("copysign_{name}({a}, {b})"),
            _ => format!("(-{a})"),
        }
    }

    fn conversion(&mut self, to: Type, depth: usize) -> String {
        let from = loop {
            let from = self.pick(&TYPES);
            if from != to {
                break from;
            }
        };
        let value = self.expression(from, depth);
        match (from, to) {
            (F32, I32 | U32 | I64) => format!("narrow_to_{}({value})", to.name()),
            (F32 | F64 | F16, I32 | U32 | I64 | U64) => {
                format!("to_{}((f64){value})", to.name())
            }
            (I64 | U64 | I32 | U32, F16) => format!("(f16)(f32){value}"),
            _ => format!("({}){value}", to.name()),
        }
    }
}
