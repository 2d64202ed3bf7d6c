//! Many callers, one engine: streams give what the blocking engine gives, and withdraw what is
//! dropped.

use std::path::{Path, PathBuf};

use engine::{
    AsyncLlm, FinishReason, Llm, LlmError, RequestOptions, RequestUpdate, SamplingParams,
};
use futures_util::future::join_all;
use futures_util::stream::StreamExt;
use pollster::block_on;

fn tiny_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families/llama")
}

fn llm() -> Llm {
    Llm::builder(tiny_model()).build().unwrap()
}

fn greedy(max_tokens: usize) -> SamplingParams {
    SamplingParams { max_tokens, temperature: 0.0, ignore_eos: true, ..SamplingParams::default() }
}

fn prompts() -> Vec<Vec<u32>> {
    (1..20).map(|len| (0..len).map(|i| (i * 7 + len) % 90).collect()).collect()
}

/// Everything that a stream gives, joined.
async fn read_all(
    mut stream: engine::RequestStream,
) -> Result<(Vec<u32>, RequestUpdate), LlmError> {
    let mut token_ids = Vec::new();
    let mut last = None;
    while let Some(update) = stream.next().await {
        let update = update?;
        assert_eq!(update.id, stream.id());
        assert!(last.is_none(), "nothing comes after the update that has `finished`");
        token_ids.extend(&update.new_token_ids);
        last = update.finished.is_some().then_some(update);
    }
    Ok((token_ids, last.expect("a stream that ends well has a last update")))
}

/// Whoever comes when too many wait is turned away, without anybody having set a limit.
#[test]
fn the_queue_is_bounded() {
    let llm = AsyncLlm::new(llm()).unwrap();
    block_on(async {
        llm.with(|llm| {
            for _ in 0..2 * AsyncLlm::DEFAULT_MAX_NUM_QUEUED_REQS {
                llm.add_request(vec![1].into(), greedy(40)).unwrap();
            }
        })
        .await
        .unwrap();
        let refused = llm.generate(vec![1], greedy(1)).await.unwrap_err();
        assert!(refused.to_string().contains("4096 requests wait already"), "{refused}");
    });
    // A limit that is set holds instead.
    let limited = Llm::builder(tiny_model()).max_num_queued_reqs(1).build().unwrap();
    let several = SamplingParams { n: 2, temperature: 1.0, ..greedy(1) };
    let refused = block_on(AsyncLlm::new(limited).unwrap().generate(vec![1], several));
    let refused = refused.expect_err("two are more than one");
    // To come again would help nobody.
    assert!(matches!(refused, LlmError::QueueTooShort { n: 2, .. }), "{refused}");
}

#[test]
fn streams_give_what_the_blocking_engine_gives() {
    let expected = llm().generate(&prompts(), &greedy(12)).unwrap();
    let llm = AsyncLlm::new(llm()).unwrap();
    let answers = block_on(join_all(prompts().into_iter().map(|prompt| async {
        read_all(llm.generate(prompt, greedy(12)).await.unwrap()).await.unwrap()
    })));
    for ((token_ids, last), expected) in answers.into_iter().zip(expected) {
        let finished = last.finished.unwrap();
        assert_eq!(token_ids, expected.outputs[0].token_ids);
        assert_eq!(finished.outputs, expected.outputs);
        assert_eq!(finished.prompt_token_ids, expected.prompt_token_ids);
    }
}

#[test]
fn a_slow_reader_gets_the_rest_in_one_piece() {
    let llm = AsyncLlm::new(llm()).unwrap();
    block_on(async {
        let slow = llm.generate(vec![1, 2, 3], greedy(30)).await.unwrap();
        // The other request arrives later and is as long, so the first has ended by its end.
        read_all(llm.generate(vec![4, 5], greedy(30)).await.unwrap()).await.unwrap();
        let updates: Vec<_> = slow.map(Result::unwrap).collect().await;
        assert_eq!(updates.len(), 1);
        assert_eq!(updates[0].new_token_ids.len(), 30);
        let finished = updates[0].finished.as_ref().unwrap();
        assert_eq!(finished.outputs[0].token_ids, updates[0].new_token_ids);
        assert_eq!(finished.outputs[0].finish_reason, FinishReason::Length);
    });
}

#[test]
fn a_dropped_stream_withdraws_its_request() {
    let llm = AsyncLlm::new(llm()).unwrap();
    block_on(async {
        let mut stream = llm.generate(vec![1, 2, 3], greedy(60)).await.unwrap();
        stream.next().await.unwrap().unwrap();
        drop(stream);
        assert!(!llm.with(|llm| llm.has_unfinished()).await.unwrap());
    });
}

#[test]
fn a_refused_request_is_an_error_and_the_next_one_runs() {
    let llm = AsyncLlm::new(llm()).unwrap();
    block_on(async {
        let refused = llm.generate(Vec::<u32>::new(), greedy(4)).await;
        assert!(matches!(refused, Err(LlmError::Refused(_))), "{refused:?}");
        let options = RequestOptions { priority: 1, ..RequestOptions::default() };
        let refused = llm.generate_with(vec![1], greedy(4), options).await;
        assert!(matches!(refused, Err(LlmError::Refused(_))), "{refused:?}");
        let (token_ids, _) =
            read_all(llm.generate(vec![1], greedy(4)).await.unwrap()).await.unwrap();
        assert_eq!(token_ids.len(), 4);
    });
}

#[test]
fn an_engine_that_is_dropped_ends_its_streams() {
    let llm = AsyncLlm::new(llm()).unwrap();
    // So much to do that it cannot be done before the engine is gone.
    let many = SamplingParams { n: 128, temperature: 1.0, ..greedy(100) };
    let stream = block_on(llm.generate(vec![1, 2, 3], many)).unwrap();
    drop(llm);
    let ended = block_on(read_all(stream));
    assert!(matches!(ended, Err(LlmError::Stopped)), "{ended:?}");
}
