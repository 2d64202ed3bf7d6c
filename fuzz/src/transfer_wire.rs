//! What must hold of every message header that is accepted. The crate's own tests include this file.

use transfer::wire::{
    HEADER_BYTES, Header, Kind, MAX_NOTIFICATION_BYTES, MAX_PAYLOAD_BYTES, SessionKey, hello,
};

/// Any bytes as a header: as they are, and made authentic, so that what is behind that is reached too. Whether the
/// authentic one was accepted.
pub fn transfer_wire(bytes: &[u8]) -> bool {
    let key = SessionKey::new(b"a token for tests", &hello([1; 24]), &hello([2; 24]));
    let mut header = [0; HEADER_BYTES];
    let num_bytes = bytes.len().min(HEADER_BYTES);
    header[..num_bytes].copy_from_slice(&bytes[..num_bytes]);
    read(&header, &key);
    key.seal(&mut header);
    read(&header, &key)
}

fn read(bytes: &[u8; HEADER_BYTES], key: &SessionKey) -> bool {
    let Ok(header) = Header::decode(bytes, key) else { return false };
    assert_eq!(&header.encode(key), bytes, "a header that is accepted is what its encoder writes");
    let most = match header.kind {
        Kind::Write | Kind::Data => MAX_PAYLOAD_BYTES,
        Kind::Notify => MAX_NOTIFICATION_BYTES,
        _ => 0,
    };
    assert!(header.payload_bytes <= most, "nobody has to take more");
    assert!(header.kind != Kind::Read || header.num_bytes <= MAX_PAYLOAD_BYTES);
    true
}
