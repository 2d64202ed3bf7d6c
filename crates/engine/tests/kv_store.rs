//! KV that outlives its request and its engine changes no bit of an answer: with hits in any tier, in parts,
//! damaged, too late or not at all. Counters say that all of it happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::{
    Fp8Flavour, KvCacheDType, KvConfig, KvStoreConfig, KvTierStats, Llm, LlmBuilder, LoadPolicy,
    Prompt, Replay, RequestOptions, RequestOutput, SamplingParams,
};
use kv_store::clock::{Clock, SystemClock};
use kv_store::config::{Overrides, Source, ThisMachine};
use kv_store::tier::{
    DirectoryConfig, DirectoryTier, Expected, HostConfig, OpenTier, Pace, Throttled, Tier,
};
use reference_cpu::inputs::Rng;

const CHUNK_SIZE: usize = 8;
const NUM_TOKENS: usize = 21;

fn tiny_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families/llama")
}

fn builder() -> LlmBuilder {
    Llm::builder(tiny_model()).block_size(4).max_model_len(48).kv_cache_memory_bytes(1 << 20)
}

fn in_directory(path: &Path) -> KvStoreConfig {
    KvStoreConfig {
        chunk_size: CHUNK_SIZE,
        directory: Some(DirectoryConfig::new(path, 1 << 30)),
        ..KvStoreConfig::default()
    }
}

fn in_host_memory() -> KvStoreConfig {
    KvStoreConfig {
        chunk_size: CHUNK_SIZE,
        host: Some(HostConfig::lru(1 << 24)),
        ..KvStoreConfig::default()
    }
}

fn prompts() -> Vec<Vec<u32>> {
    // Two with a beginning in common, and one of its own.
    let long = |first: u32| (first..first + NUM_TOKENS as u32).collect::<Vec<u32>>();
    let mut other = long(1);
    other[CHUNK_SIZE + 2..].iter_mut().for_each(|token| *token += 40);
    vec![long(1), other, long(60)]
}

fn params() -> SamplingParams {
    SamplingParams {
        max_tokens: 7,
        seed: Some(3),
        ignore_eos: true,
        logprobs: Some(3),
        ..SamplingParams::default()
    }
}

/// What an answer is, to the bit, without how it came about.
type Answer = (Vec<u32>, Vec<(u32, u32)>);

fn answers(outputs: &[RequestOutput]) -> Vec<Answer> {
    let answer = |output: &RequestOutput| {
        let completion = &output.outputs[0];
        let scores = completion.logprobs.as_ref().unwrap().iter().flatten();
        let scores = scores.map(|score| (score.token_id, score.logprob.to_bits())).collect();
        (completion.token_ids.clone(), scores)
    };
    outputs.iter().map(answer).collect()
}

fn generate(llm: &mut Llm) -> (Vec<Answer>, Vec<RequestOutput>) {
    let outputs = llm.generate(&prompts(), &params()).unwrap();
    (answers(&outputs), outputs)
}

fn expected(builder: LlmBuilder) -> Vec<Answer> {
    generate(&mut builder.build().unwrap()).0
}

fn stats(llm: &Llm) -> KvTierStats {
    llm.kv_tier_stats().unwrap()
}

#[test]
fn another_engine_loads_what_the_first_computed() {
    let directory = tempfile::tempdir().unwrap();
    let store = || in_directory(directory.path());
    let expected = expected(builder());
    let mut first = builder().kv_store(store()).build().unwrap();
    assert_eq!(generate(&mut first).0, expected);
    first.flush_kv_store();
    assert!(first.kv_tier_stats().unwrap().num_chunk_hits == 0);
    drop(first);

    let mut second = builder().kv_store(store()).build().unwrap();
    let (answers, outputs) = generate(&mut second);
    assert_eq!(answers, expected);
    let done = stats(&second);
    assert!(done.num_chunk_hits > 4 && done.num_corrupt_chunks == 0, "{done:?}");
    let scheduled = second.stats();
    assert!(scheduled.num_loads >= 2 && scheduled.num_failed_loads == 0, "{scheduled:?}");
    // All whole kv_blocks of the first prompt, although its answer filled the chunk that it ends in.
    assert_eq!(outputs[0].metrics.num_loaded_tokens.disk, NUM_TOKENS - 1, "{outputs:?}");
    assert_eq!(done.loaded_tokens.disk as u64, scheduled.num_loaded_tokens);

    // kv_blocks of other sizes read the same chunks; tails are shared where they are whole in both.
    for block_size in [1, 3, 8, 16] {
        let other = builder().block_size(block_size);
        let mut llm = other.kv_store(store()).build().unwrap();
        assert_eq!(generate(&mut llm).0, expected, "blocks of {block_size}");
        let done = stats(&llm);
        assert!(done.num_chunk_hits > 2, "blocks of {block_size}: {done:?}");
    }
}

#[test]
fn formats_of_the_cache_do_not_mix() {
    let directory = tempfile::tempdir().unwrap();
    let formats: [(&str, Option<Fp8Flavour>); 4] = [
        ("auto", None),
        ("fp8_e4m3", Some(Fp8Flavour::Ocp)),
        ("fp8_e4m3", Some(Fp8Flavour::Fnuz)),
        ("fp8_e5m2", Some(Fp8Flavour::Ocp)),
    ];
    for (name, flavour) in formats {
        let of_format = || {
            let dtype: KvCacheDType = name.parse().unwrap();
            let builder = builder().kv_cache_dtype(dtype);
            flavour.into_iter().fold(builder, LlmBuilder::fp8_flavour)
        };
        let expected = expected(of_format());
        for is_first in [true, false] {
            let store = in_directory(directory.path());
            let mut llm = of_format().kv_store(store).build().unwrap();
            assert_eq!(generate(&mut llm).0, expected, "{name} {flavour:?}");
            let num_hits = stats(&llm).num_chunk_hits;
            assert_eq!(num_hits == 0, is_first, "{name} {flavour:?}: {num_hits} hits");
        }
    }
}

#[test]
fn host_memory_answers_after_the_prefix_cache_is_gone() {
    let mut llm = builder().kv_store(in_host_memory()).build().unwrap();
    let expected = expected(builder());
    assert_eq!(generate(&mut llm).0, expected);
    llm.flush_kv_store();
    assert!(llm.reset_prefix_cache());
    let (answers, outputs) = generate(&mut llm);
    assert_eq!(answers, expected);
    assert_eq!(outputs[0].metrics.num_loaded_tokens.host, NUM_TOKENS - 1);

    // What both have, is taken from the device; only what is missing there is loaded.
    let before = stats(&llm).num_chunk_hits;
    assert_eq!(generate(&mut llm).0, expected);
    assert!(stats(&llm).num_chunk_hits <= before + 3, "{:?}", stats(&llm));
}

#[test]
fn salts_share_nothing() {
    let mut llm = builder().kv_store(in_host_memory()).build().unwrap();
    let mut attach = |salt: Option<&str>| {
        let options =
            RequestOptions { cache_salt: salt.map(str::to_owned), ..RequestOptions::default() };
        let attached = llm.attach_prefix(Prompt::TokenIds(prompts().remove(0)), options).unwrap();
        llm.flush_kv_store();
        assert!(llm.reset_prefix_cache());
        attached.num_loaded_tokens.total()
    };
    assert_eq!([attach(None), attach(Some("a")), attach(Some("b"))], [0; 3]);
    assert_eq!([attach(Some("a")), attach(None), attach(Some("b"))], [NUM_TOKENS - 1; 3]);
}

fn kv_config(text: &str) -> KvConfig {
    let read = KvConfig::read(Source::Text(text), &Overrides::default(), &ThisMachine);
    read.unwrap().unwrap().config
}

/// A salt is a tenant: what the configuration says of its name holds for it, and for no other.
#[test]
fn a_tenant_has_its_own_quota() {
    let config = kv_config(&format!(
        "local_host: cpu\nmax_host_size: 16MB\nchunk_size: {CHUNK_SIZE}\n\
         tenants:\n  small:\n    cache_quota: 1\n"
    ));
    let store = builder().kv_config(config).kv_load_policy(LoadPolicy::Always);
    let mut llm = store.build().unwrap();
    let mut attach = |salt: &str| {
        let cache_salt = Some(salt.to_owned());
        let options = RequestOptions { cache_salt, ..RequestOptions::default() };
        let attached = llm.attach_prefix(Prompt::TokenIds(prompts().remove(0)), options).unwrap();
        llm.flush_kv_store();
        assert!(llm.reset_prefix_cache());
        attached.num_loaded_tokens.total()
    };
    assert_eq!([attach("small"), attach("other"), attach("third")], [0; 3]);
    assert_eq!(
        [attach("small"), attach("other"), attach("third")],
        [0, NUM_TOKENS - 1, NUM_TOKENS - 1]
    );
}

/// Who loads what was rounded says so, also when it finds on the device what another has loaded.
#[test]
fn what_a_lossy_store_gave_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let config = || {
        kv_config(&format!(
            "lossy_codec: fp8\nlossy_max_error: 0.5\nchunk_size: {CHUNK_SIZE}\nmax_cache_size: 1GB\nstorage_path: {path:?}"
        ))
    };
    let lossy = |outputs: &[RequestOutput]| -> Vec<usize> {
        outputs.iter().map(|output| output.metrics.num_lossy_tokens).collect()
    };
    let open = || {
        let bf16 = builder().kv_cache_dtype("bfloat16".parse::<KvCacheDType>().unwrap());
        bf16.kv_config(config()).kv_load_policy(LoadPolicy::Always).build().unwrap()
    };
    let mut first = open();
    let prompt = || vec![prompts().remove(0)];
    assert_eq!(lossy(&first.generate(&prompt(), &params()).unwrap()), [0]);
    drop(first);
    let mut second = open();
    assert_eq!(lossy(&second.generate(&prompt(), &params()).unwrap()), [NUM_TOKENS - 1]);
    let on_device = second.generate(&prompt(), &params()).unwrap();
    assert!(on_device[0].metrics.num_cached_tokens > 0 && lossy(&on_device)[0] > 0);
    let attached = |llm: &mut Llm| {
        let prefix = Prompt::TokenIds(prompts().remove(0));
        let attached = llm.attach_prefix(prefix, RequestOptions::default()).unwrap();
        assert_eq!(attached.num_tokens, NUM_TOKENS);
        attached.num_lossy_tokens
    };
    assert_eq!(attached(&mut second), lossy(&on_device)[0]);
    assert_eq!(attached(&mut open()), NUM_TOKENS - 1);
    let mut exact = builder().kv_store(in_directory(&path.join("exact"))).build().unwrap();
    assert_eq!([attached(&mut exact), attached(&mut exact)], [0, 0]);
}

#[test]
fn a_prefix_is_attached_before_its_prompts_come() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = builder().kv_store(in_directory(directory.path())).build().unwrap();
    let prefix = Prompt::TokenIds(prompts().remove(0));
    let attached = first.attach_prefix(prefix.clone(), RequestOptions::default()).unwrap();
    assert_eq!((attached.num_tokens, attached.num_loaded_tokens.total()), (NUM_TOKENS, 0));
    drop(first);
    let mut second = builder().kv_store(in_directory(directory.path())).build().unwrap();
    let attached = second.attach_prefix(prefix, RequestOptions::default()).unwrap();
    assert_eq!(attached.num_loaded_tokens.disk, NUM_TOKENS - 1);
    let (answers, outputs) = generate(&mut second);
    assert_eq!(answers, expected(builder()));
    assert_eq!(outputs[0].metrics.num_cached_tokens, (NUM_TOKENS - 1) / 4 * 4);
}

/// A clock that takes its time: whoever reads a record asks it whether that has expired.
struct SlowClock(SystemClock);

impl Clock for SlowClock {
    fn unix_ms(&self) -> u64 {
        std::thread::sleep(Duration::from_millis(10));
        self.0.unix_ms()
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.monotonic_ms()
    }
}

#[test]
fn a_load_that_takes_too_long_is_computed() {
    let directory = tempfile::tempdir().unwrap();
    let expected = expected(builder());
    generate(&mut builder().kv_store(in_directory(directory.path())).build().unwrap());
    let clock = Arc::new(SlowClock(SystemClock::new()));
    let slow = KvStoreConfig { clock, ..in_directory(directory.path()) };
    let mut llm = builder().kv_store(slow).kv_load_timeout(Duration::ZERO).build().unwrap();
    for _ in 0..4 {
        assert_eq!(generate(&mut llm).0, expected);
        assert!(llm.reset_prefix_cache());
    }
    let done = stats(&llm);
    assert!(done.num_timeouts > 0, "{done:?}");
}

#[test]
fn what_is_withdrawn_while_it_loads_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let store = || in_directory(directory.path());
    let expected = expected(builder());
    generate(&mut builder().kv_store(store()).build().unwrap());
    for policy in [LoadPolicy::Always, LoadPolicy::Behind(9)] {
        let few_rows = builder().max_num_batched_tokens(6).kv_load_policy(policy);
        let mut llm = few_rows.kv_store(store()).build().unwrap();
        for case in 0..10 {
            let prompts = prompts().into_iter().map(Prompt::TokenIds);
            let ids: Vec<_> =
                prompts.map(|prompt| llm.add_request(prompt, params()).unwrap()).collect();
            // The loads begin, perhaps what comes before them is computed, and nobody waits for them.
            (0..=case % 3).for_each(|_| drop(llm.step()));
            ids.into_iter().for_each(|id| drop(llm.abort(id)));
            assert!(llm.reset_prefix_cache(), "kv_blocks are still held");
            assert_eq!(generate(&mut llm).0, expected);
            assert!(llm.reset_prefix_cache());
        }
        assert!(stats(&llm).num_chunk_hits > 0);
    }
}

#[test]
fn preemption_and_a_store_go_together() {
    let expected = expected(builder());
    let bytes_of_a_block = 4 * {
        let llm = builder().build().unwrap();
        let config = llm.config();
        2 * 2 * (config.num_layers * config.num_kv_heads * config.head_dim) as u64
    };
    let tight = || {
        builder()
            .kv_cache_memory_bytes(16 * bytes_of_a_block)
            .max_num_batched_tokens(16)
            .kv_store(in_host_memory())
    };
    for policy in [LoadPolicy::Always, LoadPolicy::Behind(5)] {
        let mut llm = tight().kv_load_policy(policy).build().unwrap();
        for _ in 0..4 {
            assert_eq!(generate(&mut llm).0, expected);
            llm.flush_kv_store();
            assert!(llm.reset_prefix_cache());
        }
        let (scheduled, done) = (llm.stats(), stats(&llm));
        assert!(scheduled.num_preemptions > 0 && done.num_chunk_hits > 0, "{scheduled:?} {done:?}");
        let is_split = scheduled.num_split_loads > 0;
        assert_eq!(is_split, policy != LoadPolicy::Always, "{scheduled:?}");
    }
}

#[test]
fn a_recorded_run_with_loads_repeats_without_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("run.jsonl");
    let store = directory.path().join("store");
    generate(&mut builder().kv_store(in_directory(&store)).build().unwrap());
    let records = [LoadPolicy::Always, LoadPolicy::Behind(10)].map(|policy| {
        let record = record.with_extension(format!("{policy:?}"));
        let few_rows = builder().max_num_batched_tokens(6).kv_load_policy(policy);
        let few_rows = few_rows.kv_store(in_directory(&store)).record(&record);
        let mut llm = few_rows.build().unwrap();
        generate(&mut llm);
        assert!(stats(&llm).num_chunk_hits > 0);
        let is_split = llm.stats().num_tokens_beside_loads > 0;
        assert_eq!(is_split, policy != LoadPolicy::Always, "{:?}", llm.stats());
        llm.check_record().unwrap();
        record
    });
    fs::remove_dir_all(&store).unwrap();
    for record in records {
        let report = Replay::open(&record, None, None).unwrap().run(|_| ()).unwrap();
        assert_eq!(report.difference, None, "{report:?}");
        assert!(report.num_steps > 5, "{report:?}");
    }
}

/// Files below a folder that can be a chunk.
fn records(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(records(&path));
        } else if fs::metadata(&path).unwrap().len() > 4096 {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Damages some of the records; answers how.
fn damage(paths: &[PathBuf], rng: &mut Rng) -> String {
    let mut story = String::new();
    for path in paths {
        let mut bytes = fs::read(path).unwrap();
        match rng.below(7) {
            0 | 1 => {
                let place = rng.below(bytes.len());
                bytes[place] ^= 1 << rng.below(8);
                story += &format!("bit at {place}; ");
            }
            2 => {
                bytes.truncate(rng.below(bytes.len()));
                story += &format!("cut at {}; ", bytes.len());
            }
            3 => {
                // Somebody else's chunk under this name.
                bytes = fs::read(&paths[rng.below(paths.len())]).unwrap_or_default();
                story += "another chunk; ";
            }
            4 => {
                let place = rng.below(bytes.len());
                let end = (place + 512).min(bytes.len());
                bytes[place..end].fill(0);
                story += &format!("zeros at {place}; ");
            }
            5 => {
                fs::remove_file(path).unwrap();
                story += "gone; ";
                continue;
            }
            _ => continue,
        }
        // Not in place: the store may have published it as a second name of the same file.
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    }
    story
}

#[test]
fn whatever_happens_to_the_records_no_token_is_wrong() {
    const NUM_CASES: usize = 240;
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole");
    generate(&mut builder().kv_store(in_directory(&whole)).build().unwrap());
    let originals: Vec<(PathBuf, Vec<u8>)> =
        records(&whole).into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    assert!(originals.len() > 6, "{} records", originals.len());
    let expected = expected(builder());
    let mut rng = Rng::new(0x6661_756c_7473);
    let (mut total, mut num_split_loads) = (KvTierStats::default(), 0);
    for case in 0..NUM_CASES {
        for (path, bytes) in &originals {
            // What was put aside as wrong, or damaged in the last case, is made new.
            let _ = fs::remove_file(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let paths: Vec<PathBuf> = originals.iter().map(|(path, _)| path.clone()).collect();
        // The store sees its directory before or after the damage, and what it has is loaded as a whole or behind
        // tokens that are computed meanwhile.
        let policy = LoadPolicy::Behind([0, 5, 8][case % 3]);
        let open = || {
            let builder = builder().max_num_batched_tokens(6).kv_load_policy(policy);
            builder.kv_store(in_directory(&whole)).build().unwrap()
        };
        let early = (case % 2 == 0).then(open);
        let story = damage(&paths, &mut rng);
        let mut llm = early.unwrap_or_else(open);
        assert_eq!(generate(&mut llm).0, expected, "case {case}: {story}");
        let done = stats(&llm);
        total.num_chunk_hits += done.num_chunk_hits;
        total.num_chunk_misses += done.num_chunk_misses;
        total.num_corrupt_chunks += done.num_corrupt_chunks;
        num_split_loads += llm.stats().num_split_loads;
    }
    println!("{NUM_CASES} cases: {total:?}");
    assert!(num_split_loads > 100, "{num_split_loads}");
    assert!(total.num_chunk_hits > 200 && total.num_corrupt_chunks > 100, "{total:?}");
    assert!(total.num_chunk_misses > 10, "{total:?}");
}

/// A directory on the other side of a slow line.
struct FarDirectory {
    path: PathBuf,
    bytes_per_s: f64,
    latency: Duration,
}

impl OpenTier for FarDirectory {
    fn open(
        &self,
        expected: Arc<Expected>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn Tier>, Box<dyn std::error::Error + Send + Sync>> {
        let near =
            DirectoryTier::open(&DirectoryConfig::new(&self.path, 1 << 30), expected, clock)?;
        let pace = Pace { bytes_per_s: self.bytes_per_s, latency: self.latency };
        Ok(Arc::new(Throttled::new(Arc::new(near), pace)))
    }
}

fn far_away(path: &Path, latency: Duration) -> KvStoreConfig {
    let far = FarDirectory { path: path.to_owned(), bytes_per_s: f64::INFINITY, latency };
    KvStoreConfig { farther: vec![Arc::new(far)], ..in_host_memory() }
}

#[test]
fn storing_delays_no_token() {
    const LATENCY: Duration = Duration::from_millis(250);
    let directory = tempfile::tempdir().unwrap();
    let expected = expected(builder());
    for write_back in [false, true] {
        let path = directory.path().join(write_back.to_string());
        let store = KvStoreConfig { write_back, ..far_away(&path, LATENCY) };
        let mut llm = builder().kv_store(store).build().unwrap();
        let begun = std::time::Instant::now();
        assert_eq!(generate(&mut llm).0, expected);
        // Eight chunks or so, each of which takes the line that long.
        let took = begun.elapsed();
        assert!(took < LATENCY, "write_back {write_back}: {took:?}");
        llm.flush_kv_store();
        assert!(begun.elapsed() > 3 * LATENCY, "the line was not slow");
        drop(llm);
        let mut other = builder().kv_store(in_directory(&path)).build().unwrap();
        assert_eq!(generate(&mut other).0, expected);
        assert!(stats(&other).num_chunk_hits > 4, "{:?}", stats(&other));
    }
}

#[test]
fn others_compute_while_a_prefix_is_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let expected = expected(builder());
    generate(&mut builder().kv_store(in_directory(directory.path())).build().unwrap());
    let far = far_away(directory.path(), Duration::from_millis(250));
    let mut llm = builder().kv_store(KvStoreConfig { host: None, ..far }).build().unwrap();
    let unseen = Prompt::TokenIds((100..109).collect());
    let other = llm.add_request(unseen, SamplingParams { max_tokens: 24, ..params() }).unwrap();
    while llm.step().is_empty() {}
    llm.add_request(Prompt::TokenIds(prompts().remove(0)), params()).unwrap();
    let (mut num_tokens, mut loaded) = (0, None);
    while loaded.is_none() {
        for update in llm.step() {
            match update.id == other {
                true => num_tokens += update.new_token_ids.len(),
                false => loaded = update.finished.or(loaded),
            }
        }
    }
    // Its own seven tokens came beside the other's last ones at best.
    assert!(num_tokens >= 12, "only {num_tokens} tokens while the line was waited for");
    let loaded = loaded.unwrap();
    assert_eq!(loaded.metrics.num_loaded_tokens.disk, NUM_TOKENS - 1);
    assert_eq!(answers(&[loaded])[0], expected[0]);
}

#[test]
fn what_is_faster_to_compute_is_not_loaded() {
    const LATENCY: Duration = Duration::from_millis(60);
    let directory = tempfile::tempdir().unwrap();
    let expected = expected(builder());
    generate(&mut builder().kv_store(in_directory(directory.path())).build().unwrap());
    let far = KvStoreConfig { host: None, ..far_away(directory.path(), LATENCY) };
    let far = builder().kv_store(far).kv_load_policy(LoadPolicy::Planned);
    let mut llm = far.build().unwrap();
    // Alone, so that it is known what a prompt takes, and with a first token that the store has not seen.
    let unseen = (100..100 + NUM_TOKENS as u32).collect::<Vec<u32>>();
    llm.generate(&[unseen], &params()).unwrap();
    assert_eq!(generate(&mut llm).0, expected);
    let first = stats(&llm);
    assert!(first.num_chunk_hits > 0, "what was never measured is loaded: {first:?}");
    assert!(llm.reset_prefix_cache());
    assert_eq!(generate(&mut llm).0, expected);
    let second = stats(&llm);
    assert_eq!(second.num_chunk_hits, first.num_chunk_hits, "a load takes longer than the prompt");
    assert!(second.num_loads_not_worth > first.num_loads_not_worth, "{second:?}");
}

#[test]
fn chunks_come_closer_while_their_request_waits() {
    let directory = tempfile::tempdir().unwrap();
    let expected = expected(builder());
    generate(&mut builder().kv_store(in_directory(directory.path())).build().unwrap());
    let (mut config, store) =
        (String::from("local_host: cpu\nmax_host_size: 16MB\n"), directory.path());
    config += &format!(
        "prefetch: true\nchunk_size: {CHUNK_SIZE}\nmax_cache_size: 1GB\nstorage_path: {store:?}"
    );
    let config = kv_config(&config);
    // One at a time: the others wait.
    let one = builder().max_num_seqs(1).kv_config(config).kv_load_policy(LoadPolicy::Always);
    let mut llm = one.build().unwrap();
    let (answers, outputs) = generate(&mut llm);
    assert_eq!(answers, expected);
    assert_eq!(outputs[2].metrics.num_loaded_tokens.total(), NUM_TOKENS - 1);
    llm.flush_kv_store();
    assert!(llm.reset_prefix_cache());
    // The engine hears of the last ones, and finds them in memory.
    let (answers, outputs) = generate(&mut llm);
    assert_eq!(answers, expected);
    let done = stats(&llm);
    assert!(done.num_prefetched_chunks > 0, "{done:?}");
    assert_eq!(outputs[2].metrics.num_loaded_tokens.host, NUM_TOKENS - 1, "{done:?}");
}

/// With a real model, whose numbers are not as tame as made-up ones.
#[test]
fn a_real_model_answers_the_same_from_every_tier() {
    let Some(model) = std::env::var_os("KVASIR_TEST_MODEL") else { return };
    let directory = tempfile::tempdir().unwrap();
    let of = |block_size| {
        Llm::builder(PathBuf::from(&model))
            .block_size(block_size)
            .max_model_len(512)
            .kv_cache_memory_bytes(256 << 20)
    };
    let store = || KvStoreConfig {
        chunk_size: 32,
        directory: Some(DirectoryConfig::new(directory.path(), 1 << 30)),
        host: Some(HostConfig::lru(1 << 28)),
        ..KvStoreConfig::default()
    };
    let prompt: Vec<u32> = (0..150).map(|i| 100 + i * 37 % 4000).collect();
    let ask = |llm: &mut Llm| {
        let outputs = llm.generate(std::slice::from_ref(&prompt), &params()).unwrap();
        (answers(&outputs), outputs[0].metrics.num_loaded_tokens)
    };
    let (expected, _) = ask(&mut of(16).build().unwrap());
    let mut llm = of(16).kv_store(store()).build().unwrap();
    assert_eq!(ask(&mut llm).0, expected);
    llm.flush_kv_store();
    assert!(llm.reset_prefix_cache());
    let (again, loaded) = ask(&mut llm);
    assert_eq!(again, expected);
    assert_eq!(loaded.host, 144, "{loaded:?}");
    drop(llm);
    for block_size in [16, 32] {
        let (answer, loaded) = ask(&mut of(block_size).kv_store(store()).build().unwrap());
        assert_eq!(answer, expected, "blocks of {block_size}");
        assert!(loaded.disk >= 128, "blocks of {block_size}: {loaded:?}");
    }
}

/// The last part of a prompt comes over a line that is as fast as the processor, while the first is computed.
#[test]
fn a_real_model_computes_the_first_part_while_the_last_is_loaded() {
    const NUM_TOKENS: usize = 193;
    let Some(model) = std::env::var_os("KVASIR_TEST_MODEL") else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = |bytes_per_s: f64| {
        let (path, latency) = (directory.path().to_owned(), Duration::ZERO);
        let far = FarDirectory { path, bytes_per_s, latency };
        let llm = Llm::builder(PathBuf::from(&model)).max_model_len(512).max_num_batched_tokens(64);
        let config = KvStoreConfig {
            chunk_size: 32,
            farther: vec![Arc::new(far)],
            ..KvStoreConfig::default()
        };
        let llm = llm.kv_cache_memory_bytes(64 << 20).kv_store(config);
        llm.kv_load_policy(LoadPolicy::Planned).build().unwrap()
    };
    let prompt =
        |first: u32| (0..NUM_TOKENS as u32).map(|i| first + i * 37 % 4000).collect::<Vec<u32>>();
    let ask = |llm: &mut Llm, first: u32| {
        let outputs = llm.generate(&[prompt(first)], &params()).unwrap();
        assert!(llm.reset_prefix_cache());
        (answers(&outputs), outputs[0].metrics.clone())
    };
    let mut first = store(f64::INFINITY);
    let (expected, metrics) = ask(&mut first, 100);
    first.flush_kv_store();
    let config = first.config();
    let token_bytes = 2 * 2 * config.num_layers * config.num_kv_heads * config.head_dim;
    drop(first);

    let bytes_per_s = (NUM_TOKENS * token_bytes) as f64 / metrics.time_to_first_token_s;
    let mut llm = store(bytes_per_s);
    // What computing takes, what loading takes, and then both at once.
    ask(&mut llm, 5000);
    assert_eq!(ask(&mut llm, 100).0, expected);
    assert_eq!(ask(&mut llm, 100).0, expected);
    let scheduled = llm.stats();
    assert!(scheduled.num_split_loads > 0, "{scheduled:?}");
    assert!(scheduled.num_tokens_beside_loads >= 32, "{scheduled:?}");
    assert!(stats(&llm).num_chunk_hits > 6, "{:?}", stats(&llm));
}
