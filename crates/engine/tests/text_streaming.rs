//! Text that comes token by token is the text that comes at once.

mod text_support;

use std::sync::OnceLock;

use engine::text::{StopStrings, Tokenizer};
use proptest::prelude::*;
use text_support::{SMALL, fixture};

/// The small vocabularies with the ids that matter most: bytes and special tokens.
fn tokenizers() -> &'static [(Tokenizer, tokenizers::Tokenizer, Vec<u32>)] {
    static ALL: OnceLock<Vec<(Tokenizer, tokenizers::Tokenizer, Vec<u32>)>> = OnceLock::new();
    ALL.get_or_init(|| {
        SMALL
            .iter()
            .map(|name| {
                let vocab = fixture(name).vocab();
                let tokenizer = Tokenizer::from_gguf(&vocab).unwrap();
                let theirs =
                    tokenizers::Tokenizer::from_bytes(tokenizer.to_json().unwrap()).unwrap();
                let types = vocab.token_types.as_ref().unwrap();
                let favourites = (0..vocab.tokens.len())
                    .filter(|&id| types[id] != 1 || vocab.tokens[id].chars().count() == 1)
                    .map(|id| id as u32)
                    .collect();
                (tokenizer, theirs, favourites)
            })
            .collect()
    })
}

fn ids() -> impl Strategy<Value = (usize, Vec<u32>)> {
    (0..SMALL.len()).prop_flat_map(|which| {
        let (tokenizer, _, favourites) = &tokenizers()[which];
        // A few ids beyond the vocabulary as well.
        let any_id = 0..tokenizer.vocab_size() as u32 + 3;
        let id = prop_oneof![any_id, proptest::sample::select(favourites.clone())];
        (Just(which), prop::collection::vec(id, 0..60))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn deltas_join_to_the_full_decode((which, ids) in ids(), skip in any::<bool>()) {
        let (tokenizer, theirs, _) = &tokenizers()[which];
        let mut detokenizer = tokenizer.detokenizer(skip);
        let mut joined = String::new();
        for &id in &ids {
            joined.push_str(&detokenizer.push(id));
        }
        joined.push_str(&detokenizer.finish());
        prop_assert_eq!(&joined, &tokenizer.decode(&ids, skip));
        prop_assert_eq!(&joined, &theirs.decode(&ids, skip).unwrap());
        // After finish() it is as new.
        let again: String = ids.iter().map(|&id| detokenizer.push(id)).collect();
        prop_assert_eq!(joined, again + &detokenizer.finish());
    }

    #[test]
    fn real_text_comes_without_replacement_characters(text in "\\PC{0,40}", which in 0..SMALL.len()) {
        let (tokenizer, _, _) = &tokenizers()[which];
        let ids = tokenizer.encode(&text, false).unwrap();
        let mut detokenizer = tokenizer.detokenizer(false);
        let deltas: Vec<String> = ids.iter().map(|&id| detokenizer.push(id)).collect();
        let joined = deltas.concat() + &detokenizer.finish();
        // What a vocabulary may do to a text: NFC, and U+2581 for spaces.
        if SMALL[which].starts_with("sentencepiece") {
            prop_assert_eq!(joined, text.replace('\u{2581}', " "));
        } else if SMALL[which] != "qwen2" {
            prop_assert_eq!(&joined, &text);
        }
        if !text.contains('\u{FFFD}') {
            prop_assert!(deltas.iter().all(|delta| !delta.contains('\u{FFFD}')), "{:?}", deltas);
        }
    }

    #[test]
    fn stop_texts_do_not_depend_on_borders(
        text in "[abc é]{0,30}",
        stops in prop::collection::vec("[abc é]{0,4}", 0..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        include in any::<bool>(),
    ) {
        let expected = stop_by_hand(&text, &stops, include);
        let mut borders: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        borders.extend([0, text.len()]);
        borders.retain(|&at| text.is_char_boundary(at));
        borders.sort_unstable();

        let mut watch = StopStrings::new(&stops, include);
        let mut out = String::new();
        let mut found = None;
        for border in borders.windows(2) {
            let update = watch.push(&text[border[0]..border[1]]);
            prop_assert!(found.is_none() || update == Default::default());
            out.push_str(&update.text);
            found = found.or(update.stop.map(|stop| stop.text));
            if found.is_none() {
                let longest = stops.iter().map(String::len).max().unwrap_or(0);
                prop_assert!(border[1] - out.len() <= longest.saturating_sub(1), "too much held back");
                let held = &text[out.len()..border[1]];
                prop_assert!(held.is_empty() || stops.iter().any(|stop| stop.starts_with(held)));
            }
        }
        out.push_str(&watch.finish());
        prop_assert_eq!((out, found), expected);
    }
}

/// The same by looking at every beginning of the text.
fn stop_by_hand(text: &str, stops: &[String], include: bool) -> (String, Option<String>) {
    for end in (0..=text.len()).filter(|&end| text.is_char_boundary(end)) {
        let longest = stops
            .iter()
            .filter(|stop| !stop.is_empty() && text[..end].ends_with(stop.as_str()))
            .max_by_key(|stop| stop.len());
        if let Some(stop) = longest {
            let keep = if include { end } else { end - stop.len() };
            return (text[..keep].to_owned(), Some(stop.clone()));
        }
    }
    (text.to_owned(), None)
}

#[test]
fn a_letter_comes_when_its_last_byte_does() {
    let (tokenizer, _, _) = &tokenizers()[0];
    let ids = tokenizer.encode("a\u{10348}b", false).unwrap();
    let mut detokenizer = tokenizer.detokenizer(true);
    let deltas: Vec<String> = ids.iter().map(|&id| detokenizer.push(id)).collect();
    assert_eq!(deltas, ["a", "", "", "", "\u{10348}", "b"]);
}

#[test]
fn only_a_possible_beginning_is_held_back() {
    let mut watch = StopStrings::new(&["END", "\n\n"], false);
    assert_eq!(watch.push("one E").text, "one ");
    assert_eq!(watch.push("N").text, "");
    assert_eq!(watch.push("T\n").text, "ENT");
    assert_eq!(watch.push("x").text, "\nx");
    let update = watch.push("\n\nEND");
    assert_eq!(update.text, "");
    assert_eq!(update.stop.map(|stop| (stop.index, stop.text)), Some((1, "\n\n".into())));
    assert_eq!(watch.push("more"), Default::default());
}
