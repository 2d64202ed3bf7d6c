//! `kvasir bench multi-user`: many users ask about the same documents. What it is worth that the KV of a document is
//! kept: each question computed alone, the documents shared from nothing, and shared when they are there already.

use std::fmt;

use clap::Args;
use engine::{Llm, RequestOptions};
use serde::Serialize;

use super::{MeasuredEngineArgs, check_length, forget, greedy, random_prompt, rounds};
use crate::cli::args::positive;
use crate::cli::bench::memory::{MemorySampler, MemoryUse};
use crate::cli::bench::output::OutputArgs;
use crate::cli::bench::progress;
use crate::cli::bench::report::{Page, bars};
use crate::cli::bench::spread::{Spread, spread_of};
use crate::cli::error::CliError;

/// `kvasir bench multi-user`.
#[derive(Args, Debug)]
pub(crate) struct MultiUserArgs {
    /// Documents
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    num_documents: u32,

    /// Tokens of each
    #[arg(long, value_name = "TOKENS", default_value = "1024", value_parser = positive)]
    document_len: usize,

    /// Users, each with one question; they take the documents in turn
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    num_users: u32,

    /// Tokens of a question, behind its document
    #[arg(long, value_name = "TOKENS", default_value = "32", value_parser = positive)]
    question_len: usize,

    /// Tokens of each answer
    #[arg(long, value_name = "TOKENS", default_value = "16", value_parser = positive)]
    output_len: usize,

    /// Rounds that are measured, after one that is not
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    num_iters: u32,

    #[command(flatten)]
    engine: MeasuredEngineArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What a user's question finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Sharing {
    /// Nothing: every user has a cache salt.
    Unshared,
    /// What others have computed since the cache was emptied.
    Cold,
    /// All documents.
    Warm,
}

impl Sharing {
    const ALL: [Sharing; 3] = [Sharing::Unshared, Sharing::Cold, Sharing::Warm];

    const fn text(self) -> &'static str {
        match self {
            Sharing::Unshared => "every user alone",
            Sharing::Cold => "shared, from nothing",
            Sharing::Warm => "shared, documents there",
        }
    }

    fn options(self, user: usize) -> RequestOptions {
        let cache_salt = (self == Sharing::Unshared).then(|| format!("user {user}"));
        RequestOptions { cache_salt, ..RequestOptions::default() }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    device: String,
    num_documents: u32,
    document_len: usize,
    num_users: u32,
    question_len: usize,
    output_len: usize,
    rows: Vec<Row>,
    memory: MemoryUse,
}

#[derive(Debug, Serialize)]
struct Row {
    sharing: Sharing,
    /// Of a round: all users' questions at once.
    elapsed: Spread,
    /// Of all users and rounds.
    ttft: Spread,
    requests_per_second: f64,
    /// How many times the users' median time to first token is shorter than alone.
    ttft_improvement: f64,
    /// Of all prompt tokens, those whose KV was found.
    part_found: f64,
}

pub(crate) fn run(args: &MultiUserArgs) -> Result<(), CliError> {
    let report = measure(args)?;
    args.output.give(&report, &report.to_string(), || report.page())
}

fn measure(args: &MultiUserArgs) -> Result<Report, CliError> {
    let sampler = MemorySampler::start();
    let mut llm = args.engine.load(None)?;
    check_length(&llm, args.document_len + args.question_len, args.output_len).map_err(
        |error| error.with_hint("give a smaller --document-len, --question-len or --output-len"),
    )?;
    let prompts = prompts(args, &llm);
    let bar = progress(u64::from(args.num_iters + 1) * Sharing::ALL.len() as u64);
    let mut first_answers = None;
    let mut rows: Vec<Row> = Vec::new();
    for sharing in Sharing::ALL {
        bar.set_message(sharing.text());
        let (mut elapsed, mut ttfts, mut num_found) = (Vec::new(), Vec::new(), 0);
        for round in 0..=args.num_iters {
            if sharing != Sharing::Warm || round == 0 {
                forget(&mut llm)?;
            }
            let options = |user| sharing.options(user);
            let done = rounds::answer(&mut llm, &prompts, &greedy(args.output_len), options)?;
            check_answers(first_answers.get_or_insert_with(|| tokens(&done)), &done)?;
            bar.inc(1);
            if round > 0 {
                elapsed.push(done.elapsed_s);
                ttfts.extend(done.answers.iter().map(|answer| answer.ttft_s));
                num_found +=
                    done.answers.iter().map(rounds::Timed::num_found_tokens).sum::<usize>();
            }
        }
        let (elapsed, ttft) = (spread_of(&elapsed)?, spread_of(&ttfts)?);
        let alone_s = rows.first().map_or(ttft.median_s, |row| row.ttft.median_s);
        let num_tokens: usize = prompts.iter().map(Vec::len).sum();
        rows.push(Row {
            sharing,
            elapsed,
            ttft,
            requests_per_second: prompts.len() as f64 / elapsed.median_s,
            ttft_improvement: alone_s / ttft.median_s,
            part_found: num_found as f64 / (num_tokens * args.num_iters as usize) as f64,
        });
    }
    bar.finish_and_clear();
    Ok(Report {
        model: args.engine.model().to_owned(),
        device: llm.device_name(),
        num_documents: args.num_documents,
        document_len: args.document_len,
        num_users: args.num_users,
        question_len: args.question_len,
        output_len: args.output_len,
        rows,
        memory: sampler.stop(),
    })
}

/// One for each user: a document, and a question of their own.
fn prompts(args: &MultiUserArgs, llm: &Llm) -> Vec<Vec<u32>> {
    let mut rng = args.engine.rng();
    let documents: Vec<Vec<u32>> =
        (0..args.num_documents).map(|_| random_prompt(llm, args.document_len, &mut rng)).collect();
    let prompt = |user: usize| {
        let question = random_prompt(llm, args.question_len, &mut rng);
        [&documents[user % documents.len()][..], &question].concat()
    };
    (0..args.num_users as usize).map(prompt).collect()
}

fn tokens(round: &rounds::Round) -> Vec<Vec<u32>> {
    let outputs = round.answers.iter().filter_map(|answer| answer.output.as_ref());
    outputs.map(|output| output.outputs[0].token_ids.clone()).collect()
}

/// What is found must not change what is answered.
fn check_answers(first: &[Vec<u32>], round: &rounds::Round) -> Result<(), CliError> {
    match tokens(round) == first {
        true => Ok(()),
        false => Err(CliError::internal("the same prompt was answered otherwise")
            .with_hint("this must not happen whatever was found: please report it")),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.model, self.device)?;
        writeln!(
            f,
            "{} users, {} documents of {} tokens, questions of {}, answers of {}\n",
            self.num_users,
            self.num_documents,
            self.document_len,
            self.question_len,
            self.output_len
        )?;
        let head = ["Sharing", "Round", "Time to first token", "Improvement", "KV found"];
        writeln!(
            f,
            "| {:23} | {:10} | {:34} | {:11} | {} |",
            head[0], head[1], head[2], head[3], head[4]
        )?;
        writeln!(f, "|{:-<25}|{:-<12}|{:-<36}|{:-<13}|{:-<10}|", "", "", "", "", "")?;
        for row in &self.rows {
            let Spread { min_s, median_s, max_s } = row.ttft;
            let times =
                format!("{:.1} ms ({:.1} to {:.1})", median_s * 1e3, min_s * 1e3, max_s * 1e3);
            let round = format!("{:.2} s", row.elapsed.median_s);
            let (times_faster, found) = (row.ttft_improvement, row.part_found * 100.0);
            let sharing = row.sharing.text();
            writeln!(
                f,
                "| {sharing:23} | {round:10} | {times:34} | {times_faster:10.1}x | {found:6.1} % |"
            )?;
        }
        Ok(())
    }
}

impl Report {
    fn page(&self) -> Result<Page, CliError> {
        let mut page = Page::new(format!("Users of {} on {}", self.model, self.device));
        let row = |row: &Row| {
            [
                row.sharing.text().to_owned(),
                format!("{:.2}", row.elapsed.median_s),
                format!("{:.1}", row.ttft.median_s * 1e3),
                format!("{:.1}", row.ttft_improvement),
                format!("{:.1}", row.requests_per_second),
                format!("{:.1}", row.part_found * 100.0),
            ]
        };
        page.table(
            &format!(
                "{} users, {} documents of {} tokens",
                self.num_users, self.num_documents, self.document_len
            ),
            [
                "",
                "round (s)",
                "first token (ms)",
                "times faster",
                "requests a second",
                "KV found (%)",
            ],
            self.rows.iter().map(row).collect(),
        );
        let ttft = |row: &Row| {
            let Spread { min_s, median_s, max_s } = row.ttft;
            (row.sharing.text().to_owned(), [min_s, median_s, max_s].map(|time| time * 1e3))
        };
        let rows: Vec<_> = self.rows.iter().map(ttft).collect();
        page.figure("Time to first token: median, least and most", bars("milliseconds", &rows))?;
        page.memory(&self.memory)?;
        Ok(page)
    }
}
