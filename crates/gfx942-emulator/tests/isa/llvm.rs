//! llvm-mc and llvm-objdump, asked for many instructions at a time.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use hip_toolchain::Toolchain;

/// What llvm-mc makes of one sample.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// No instruction, or one that LLVM would encode differently.
    Other,
    /// An instruction whose words LLVM gives back.
    Decoded { num_words: usize, text: String },
    /// llvm-mc does not survive it.
    Crash,
}

pub struct Llvm {
    toolchain: Toolchain,
    mc: PathBuf,
}

/// Samples for one process: their numbers fit a marker.
const CHUNK: usize = 8_000;

impl Llvm {
    pub fn for_tests() -> Option<Self> {
        let toolchain = hip_toolchain::for_tests()?;
        let mc = toolchain.llvm_tool("llvm-mc").expect("the toolchain has llvm-mc");
        Some(Self { toolchain, mc })
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        let mut child = self
            .toolchain
            .command(&self.mc)
            .args(["--triple=amdgcn", "--mcpu=gfx942", "--show-encoding"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("llvm-mc starts");
        let mut stdin = child.stdin.take().expect("piped");
        std::thread::scope(|scope| {
            // A process that crashed does not read to the end.
            scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
            child.wait_with_output().expect("llvm-mc ends")
        })
    }

    /// What LLVM makes of each sample, one or two words.
    pub fn disassemble(&self, samples: &[[u32; 2]]) -> Vec<Verdict> {
        let chunks: Vec<_> = samples.chunks(CHUNK).collect();
        let halves = chunks.split_at(chunks.len() / 2);
        let all = |chunks: &[&[[u32; 2]]]| -> Vec<Verdict> {
            chunks.iter().flat_map(|chunk| self.disassemble_chunk(chunk)).collect()
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| all(halves.0));
            let second = all(halves.1);
            let mut verdicts = first.join().expect("no panic");
            verdicts.extend(second);
            verdicts
        })
    }

    /// After each sample stands its number in an `s_nop`, twice, as the sample may take the first for a literal.
    fn disassemble_chunk(&self, samples: &[[u32; 2]]) -> Vec<Verdict> {
        let mut input = String::new();
        for (i, [first, second]) in samples.iter().enumerate() {
            let marker = S_NOP | i as u32;
            for word in [*first, *second, marker, marker] {
                for byte in word.to_le_bytes() {
                    input.push_str(&format!("{byte:#04x} "));
                }
            }
            input.push('\n');
        }
        let output = self.run(&["--disassemble"], &input);
        if output.status.code().is_none_or(|code| code > 1) {
            let [_] = samples else {
                let (first, second) = samples.split_at(samples.len() / 2);
                return [self.disassemble_chunk(first), self.disassemble_chunk(second)].concat();
            };
            return vec![Verdict::Crash];
        }
        verdicts(samples, &String::from_utf8_lossy(&output.stdout))
    }

    /// The bytes that the assembler makes of each line; `None` where it refuses.
    pub fn assemble(&self, lines: &[&str]) -> Vec<Option<Vec<u8>>> {
        let output = self.run(&[], &(lines.join("\n") + "\n"));
        let errors = String::from_utf8_lossy(&output.stderr);
        let refused: std::collections::HashSet<usize> = errors
            .lines()
            .filter_map(|line| line.strip_prefix("<stdin>:")?.split_once(':'))
            .filter(|(_, message)| message.contains(": error:"))
            .filter_map(|(number, _)| number.parse().ok())
            .collect();
        let text = String::from_utf8_lossy(&output.stdout);
        let mut encodings = text.lines().filter_map(encoding).map(|(_, bytes)| bytes);
        let result = (1..=lines.len())
            .map(|line| if refused.contains(&line) { None } else { encodings.next() });
        let result: Vec<_> = result.collect();
        assert!(encodings.next().is_none(), "more encodings than lines");
        result
    }
}

const S_NOP: u32 = 0xbf80_0000;

/// A line of llvm-mc's output: the instruction and its bytes.
fn encoding(line: &str) -> Option<(&str, Vec<u8>)> {
    let (text, bytes) = line.strip_prefix('\t')?.split_once("; encoding: [")?;
    let bytes = bytes.strip_suffix(']')?.split(',');
    let bytes: Option<Vec<u8>> =
        bytes.map(|byte| u8::from_str_radix(byte.strip_prefix("0x")?, 16).ok()).collect();
    Some((text.split("//").next()?.trim_end(), bytes?))
}

/// Finds the markers, and what stands before each.
fn verdicts(samples: &[[u32; 2]], text: &str) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::Other; samples.len()];
    let mut next = 0;
    let mut found: Option<(&str, Vec<u8>)> = None;
    for (text, bytes) in text.lines().filter_map(encoding) {
        let marker = match bytes[..] {
            [low, high, 0x80, 0xbf] => Some(usize::from(u16::from_le_bytes([low, high]))),
            _ => None,
        };
        match marker {
            Some(marker) if marker + 1 == next => {}
            // Neither marker of a sample is lost, but one that decodes to nothing may take some along.
            Some(marker) if (next..next + 4).contains(&marker) && marker < samples.len() => {
                if let Some((text, bytes)) = found.take().filter(|_| marker == next) {
                    let [first, second] = samples[marker].map(u32::to_le_bytes);
                    if [first, second].concat().starts_with(&bytes) {
                        verdicts[marker] =
                            Verdict::Decoded { num_words: bytes.len() / 4, text: text.to_owned() };
                    }
                }
                found = None;
                next = marker + 1;
            }
            _ => {
                found.get_or_insert((text, bytes));
            }
        }
    }
    verdicts
}
