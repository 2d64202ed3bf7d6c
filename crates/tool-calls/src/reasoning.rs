//! What a model thinks before it answers, where it writes that between tags.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// How a model writes what it thinks: vLLM's `--reasoning-parser`. All of these write `<think>…</think>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReasoningParser {
    /// Qwen 3.
    Qwen3,
    /// DeepSeek R1, models distilled from it, and QwQ.
    DeepseekR1,
}

impl ReasoningParser {
    /// All there are.
    pub const ALL: [ReasoningParser; 2] = [ReasoningParser::Qwen3, ReasoningParser::DeepseekR1];

    /// vLLM's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            ReasoningParser::Qwen3 => "qwen3",
            ReasoningParser::DeepseekR1 => "deepseek_r1",
        }
    }

    /// Whether a prompt ends with the tag that opens a thought. Templates of some models write it, and white space.
    pub fn is_opened_by(self, prompt: &str) -> bool {
        prompt.trim_end().ends_with(OPEN)
    }

    /// Whether a message that an answer goes on with ends within a thought.
    pub fn is_open_in(self, message: &str) -> bool {
        message.rfind(OPEN).is_some_and(|open| !message[open..].contains(CLOSE))
    }

    /// Reads an answer that begins within a thought or not.
    pub fn reader(self, is_thinking: bool) -> ReasoningReader {
        ReasoningReader { state: State::Before { is_thinking }, buffer: String::new() }
    }
}

/// Reads one answer. What it has told depends on the text alone and not on the pieces that it came in.
#[derive(Clone, Debug)]
pub struct ReasoningReader {
    state: State,
    /// Text that nothing has been said of.
    buffer: String,
}

/// What is new in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What the model thinks.
    pub reasoning: String,
    /// What it answers.
    pub answer: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Where a thought may be opened, also once more.
    Before {
        is_thinking: bool,
    },
    Thinking,
    Answering,
}

impl ReasoningReader {
    /// What is known with `text`, which follows what came before. `is_last`: nothing will follow.
    pub fn read(&mut self, text: &str, is_last: bool) -> Told {
        self.buffer.push_str(text);
        let mut told = Told::default();
        if let State::Before { is_thinking } = self.state {
            let rest = self.buffer.trim_start();
            if !is_last && OPEN.starts_with(rest) && rest != OPEN {
                return told;
            }
            let is_opened = rest.starts_with(OPEN);
            if is_opened {
                self.buffer = rest[OPEN.len()..].to_owned();
            }
            self.state = match is_opened || is_thinking {
                true => State::Thinking,
                false => State::Answering,
            };
        }
        if self.state == State::Thinking {
            self.think(is_last, &mut told);
        }
        if self.state == State::Answering {
            told.answer = std::mem::take(&mut self.buffer);
        }
        told
    }

    fn think(&mut self, is_last: bool, told: &mut Told) {
        if let Some(end) = self.buffer.find(CLOSE) {
            told.reasoning = self.buffer[..end].to_owned();
            self.buffer.drain(..end + CLOSE.len());
            self.state = State::Answering;
            return;
        }
        let held = if is_last { 0 } else { self.num_held() };
        told.reasoning = self.buffer.drain(..self.buffer.len() - held).collect();
    }

    /// Bytes at the end that may begin the closing tag.
    fn num_held(&self) -> usize {
        let may_begin = |length: &usize| self.buffer.ends_with(&CLOSE[..*length]);
        (1..CLOSE.len()).rev().find(may_begin).unwrap_or(0)
    }
}
