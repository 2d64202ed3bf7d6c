//! Our decoder and disassembler against llvm-mc on random words.

use std::collections::{BTreeMap, HashSet};

use gfx942_emulator::isa::{Op, decode};

use crate::llvm::{Llvm, Verdict};
use crate::sampler::{FORMATS, Random, sample};

/// Samples for each opcode number that is an operation of ours, and for each other.
const KNOWN: usize = 200;
const UNKNOWN: usize = 12;

/// Comparisons that the project promises.
const PROMISED: usize = 100_000;

#[derive(Default)]
struct Counts {
    sampled: usize,
    crashed: usize,
    decoded: usize,
    compared: usize,
    refused: usize,
    ours_only: usize,
}

#[test]
fn random_words_read_as_llvm_reads_them() {
    let Some(llvm) = Llvm::for_tests() else { return };
    let (formats, samples) = draw(&mut Random(0x6b76_6173_6972));
    let verdicts = llvm.disassemble(&samples);
    let canonical = canonical(&llvm, &samples, &verdicts);

    let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
    let mut differences = Vec::new();
    let mut seen = HashSet::new();
    let words = samples.iter().zip(&verdicts).zip(canonical).zip(formats);
    for (((words, verdict), canonical), format) in words {
        let count = counts.entry(FORMATS[format].0).or_default();
        count.sampled += 1;
        let ours = decode(&words.map(u32::to_le_bytes).concat());
        let ours = ours
            .map(|inst| (usize::from(inst.size) / 4, inst.to_string()))
            .map_err(|error| error.to_string());
        match verdict {
            Verdict::Crash => count.crashed += 1,
            Verdict::Other => count.ours_only += ours.is_ok() as usize,
            Verdict::Decoded { num_words, text } => {
                count.decoded += 1;
                seen.insert(base(text).to_owned());
                if !canonical {
                    count.refused += ours.is_err() as usize;
                } else if writes_a_constant(text) {
                    assert!(ours.is_err(), "{text}: nothing can be written there");
                } else {
                    count.compared += 1;
                    if ours != Ok((*num_words, text.clone())) {
                        differences.push(format!("{words:08x?}: LLVM {text:?}, we {ours:?}"));
                    }
                }
            }
        }
    }
    print(&counts);
    assert!(
        differences.is_empty(),
        "{} differences, among them {:#?}",
        differences.len(),
        sparse(&differences)
    );
    let compared: usize = counts.values().map(|count| count.compared).sum();
    assert!(compared >= PROMISED, "only {compared} samples could be compared");
    every_operation_is_known(&seen);
}

/// Samples with their formats; more for the opcode numbers that exist.
fn draw(random: &mut Random) -> (Vec<usize>, Vec<[u32; 2]>) {
    let mut drawn = (Vec::new(), Vec::new());
    for (format, (_, _, _, opcodes)) in FORMATS.iter().enumerate() {
        for opcode in opcodes.clone() {
            let draws: Vec<_> = (0..KNOWN).map(|_| sample(format, opcode, random)).collect();
            let is_known =
                draws.iter().any(|words| decode(&words.map(u32::to_le_bytes).concat()).is_ok());
            let draws = if is_known { &draws[..] } else { &draws[..UNKNOWN] };
            drawn.0.extend(draws.iter().map(|_| format));
            drawn.1.extend_from_slice(draws);
        }
    }
    drawn
}

/// Whether the assembler makes the same bytes of LLVM's text.
fn canonical(llvm: &Llvm, samples: &[[u32; 2]], verdicts: &[Verdict]) -> Vec<bool> {
    let decoded = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Decoded { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let mut encodings = llvm.assemble(&decoded.collect::<Vec<_>>()).into_iter();
    let words = samples.iter().zip(verdicts);
    words
        .map(|(words, verdict)| match verdict {
            Verdict::Decoded { num_words, .. } => {
                let bytes = words.map(u32::to_le_bytes).concat();
                encodings
                    .next()
                    .flatten()
                    .is_some_and(|encoding| encoding == bytes[..num_words * 4])
            }
            _ => false,
        })
        .collect()
}

/// LLVM lets VOP3's scalar results go to read-only values (`src_vccz`, …); we refuse them.
fn writes_a_constant(text: &str) -> bool {
    let has_scalar_result = text.starts_with("v_cmp") || text.starts_with("v_readlane");
    has_scalar_result && text.split(' ').nth(1).is_some_and(|operand| operand.starts_with("src_"))
}

/// The mnemonic without the encoding's suffix.
fn base(text: &str) -> &str {
    let mnemonic = text.split(' ').next().unwrap_or_default();
    let suffixes = ["_e32", "_e64", "_sdwa", "_dpp"];
    suffixes.iter().find_map(|suffix| mnemonic.strip_suffix(suffix)).unwrap_or(mnemonic)
}

/// What LLVM knows is in the table, and what is in the table LLVM knows.
fn every_operation_is_known(seen: &HashSet<String>) {
    let ours: HashSet<String> = Op::ALL.iter().map(|op| op.name().to_owned()).collect();
    let missing: Vec<_> = seen.difference(&ours).collect();
    assert!(missing.is_empty(), "LLVM decodes operations that the table lacks: {missing:?}");
    let unseen: Vec<_> = ours.difference(seen).collect();
    assert!(unseen.is_empty(), "LLVM decoded no sample of {unseen:?}");
}

fn print(counts: &BTreeMap<&str, Counts>) {
    println!(
        "format    sampled  crashed  decoded compared  we refuse what LLVM decodes only  we decode what LLVM refuses"
    );
    let mut total = [0; 6];
    for (format, count) in counts {
        let row = [
            count.sampled,
            count.crashed,
            count.decoded,
            count.compared,
            count.refused,
            count.ours_only,
        ];
        println!(
            "{format:8} {:8} {:8} {:8} {:8} {:8} {:8}",
            row[0], row[1], row[2], row[3], row[4], row[5]
        );
        total.iter_mut().zip(row).for_each(|(total, count)| *total += count);
    }
    println!(
        "all      {:8} {:8} {:8} {:8} {:8} {:8}",
        total[0], total[1], total[2], total[3], total[4], total[5]
    );
}

/// At most 20, from everywhere.
fn sparse(differences: &[String]) -> Vec<&String> {
    differences.iter().step_by(differences.len().div_ceil(20).max(1)).collect()
}
