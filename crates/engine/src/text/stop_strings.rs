//! Stop texts, wherever token borders fall.

/// Watches a growing text for the first of some stop texts.
///
/// Text goes in as it is decoded; what comes out is text that no stop text can reach any more. Only the
/// longest end of the text that could be the beginning of a stop text is held back. The result depends on
/// the text alone, not on how it was cut:
/// the match that *ends* first wins, and of several that end together the one that *begins* first.
#[derive(Clone, Debug)]
pub struct StopStrings {
    stops: Vec<Stop>,
    include_in_output: bool,
    /// Text that was not returned yet.
    held: String,
    stopped: bool,
}

#[derive(Clone, Debug)]
struct Stop {
    text: String,
    /// For each length of a matched beginning, the length of the longest shorter beginning that is its end
    /// (Knuth, Morris and Pratt's failure function).
    fallback: Vec<usize>,
    /// How many bytes of `text` the end of the text so far matches.
    matched: usize,
}

/// A stop text was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopMatch {
    /// Which of the stop texts, by place in the list.
    pub index: usize,
    /// Its text.
    pub text: String,
}

/// What may be shown after some text came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopUpdate {
    /// Text that is final.
    pub text: String,
    /// The stop text that ended the output, if one did.
    pub stop: Option<StopMatch>,
}

impl StopStrings {
    /// Watches for `stops`; empty ones are ignored. With `include_in_output` the stop text itself is
    /// returned as well.
    pub fn new<S: AsRef<str>>(stops: &[S], include_in_output: bool) -> Self {
        let stops = stops.iter().map(|stop| Stop::new(stop.as_ref())).collect();
        StopStrings { stops, include_in_output, held: String::new(), stopped: false }
    }

    /// Takes the next text. After a stop text was found, nothing more comes out.
    pub fn push(&mut self, text: &str) -> StopUpdate {
        if self.stopped {
            return StopUpdate::default();
        }
        let before = self.held.len();
        self.held.push_str(text);
        for (offset, byte) in text.bytes().enumerate() {
            let end = before + offset + 1;
            if let Some(index) = self.advance(byte) {
                return self.stop(index, end);
            }
        }
        let keep = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        StopUpdate { text: self.held.drain(..self.held.len() - keep).collect(), stop: None }
    }

    /// Returns the text still held back: the output has ended without a stop text.
    pub fn finish(&mut self) -> String {
        self.stopped = true;
        std::mem::take(&mut self.held)
    }

    /// Feeds one byte to every stop text; the index of the one that is complete, the longest first.
    fn advance(&mut self, byte: u8) -> Option<usize> {
        let mut found: Option<usize> = None;
        for index in 0..self.stops.len() {
            if self.stops[index].advance(byte) {
                let longer =
                    |other: usize| self.stops[index].text.len() > self.stops[other].text.len();
                if found.is_none_or(longer) {
                    found = Some(index);
                }
            }
        }
        found
    }

    fn stop(&mut self, index: usize, end: usize) -> StopUpdate {
        self.stopped = true;
        let stop = self.stops[index].text.clone();
        let mut text = std::mem::take(&mut self.held);
        text.truncate(match self.include_in_output {
            true => end,
            false => end - stop.len(),
        });
        StopUpdate { text, stop: Some(StopMatch { index, text: stop }) }
    }
}

impl Stop {
    fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut fallback = vec![0; bytes.len()];
        let mut matched = 0;
        for at in 1..bytes.len() {
            while matched > 0 && bytes[at] != bytes[matched] {
                matched = fallback[matched - 1];
            }
            if bytes[at] == bytes[matched] {
                matched += 1;
            }
            fallback[at] = matched;
        }
        Stop { text: text.to_owned(), fallback, matched: 0 }
    }

    /// True if `byte` completes the stop text.
    fn advance(&mut self, byte: u8) -> bool {
        let bytes = self.text.as_bytes();
        if bytes.is_empty() {
            return false;
        }
        while self.matched > 0 && bytes[self.matched] != byte {
            self.matched = self.fallback[self.matched - 1];
        }
        if bytes[self.matched] == byte {
            self.matched += 1;
        }
        self.matched == bytes.len()
    }
}
