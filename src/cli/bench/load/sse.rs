//! Server-sent events, from bytes that come in any pieces.

/// Longest line that is kept. A token's event has a few hundred bytes; what never ends is no event.
const MAX_LINE_BYTES: usize = 16 << 20;

/// Bytes that are no whole line yet.
#[derive(Default)]
pub(super) struct Events {
    rest: Vec<u8>,
}

impl Events {
    /// The data of all events that are whole with `bytes`. Only `data` lines count, each as one event: no OpenAI endpoint
    /// writes an event over several.
    ///
    /// # Errors
    /// If a line is longer than any event, or is no text.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, String> {
        self.rest.extend_from_slice(bytes);
        let mut data = Vec::new();
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|&byte| byte == b'\n') {
            let line = self.rest[start..start + length].trim_ascii_end();
            start += length + 1;
            if let Some(found) = line.strip_prefix(b"data:") {
                let found = std::str::from_utf8(found).map_err(|_| "an event is not UTF-8")?;
                data.push(found.trim_start().to_owned());
            }
        }
        self.rest.drain(..start);
        if self.rest.len() > MAX_LINE_BYTES {
            return Err(format!("a line of the stream is longer than {MAX_LINE_BYTES} bytes"));
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        ": a comment\r\nevent: x\r\ndata: {\"a\": \"ä\"}\r\n\r\ndata:[DONE]\n\ndata: cut";

    #[test]
    fn events_are_the_same_whatever_pieces_they_come_in() {
        for length in 1..STREAM.len() {
            let mut events = Events::default();
            let pieces = STREAM.as_bytes().chunks(length);
            let found: Vec<String> = pieces.flat_map(|piece| events.push(piece).unwrap()).collect();
            assert_eq!(found, ["{\"a\": \"ä\"}", "[DONE]"], "{length}");
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        assert!(Events::default().push(b"data: \xff\n").is_err());
        let mut events = Events::default();
        let piece = vec![b'x'; MAX_LINE_BYTES / 2 + 1];
        assert!(events.push(&piece).is_ok());
        assert!(events.push(&piece).is_err());
    }
}
