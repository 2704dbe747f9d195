//! How a record lies in its row: the packed row id, the headers' bytes and the checksum. Also which partition a key goes to.

use bytes::Bytes;
use longshore_core::time::Micros;

/// Bits of the row id that hold the offset: 10^12 records for each partition.
const OFFSET_BITS: u32 = 40;
/// The highest offset plus one.
pub(crate) const OFFSET_LIMIT: u64 = 1 << OFFSET_BITS;
/// The highest partition id (of the table `partitions`), so that row ids stay positive.
pub(crate) const LANE_LIMIT: i64 = 1 << 23;

/// The row id of a record: the partition's id in the high bits, the offset in the low 40.
pub(crate) fn row_id(lane: i64, offset: u64) -> i64 {
    (lane << OFFSET_BITS) | (offset.min(OFFSET_LIMIT - 1)).cast_signed()
}

/// The offset in a row id.
pub(crate) fn offset_of(row_id: i64) -> u64 {
    row_id.cast_unsigned() & (OFFSET_LIMIT - 1)
}

/// The partition of a key: 64-bit FNV-1a (Fowler, Noll, Vo) modulo the number of partitions. Stable for ever: records of
/// one key must stay in one partition across restarts and versions.
pub(crate) fn partition_of(key: &[u8], partitions: u32) -> u32 {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    u32::try_from(hash % u64::from(partitions.max(1))).unwrap_or(0)
}

/// Headers as bytes: for each, the name's length (u32, little-endian), the name, the value's length (u32), the value.
/// Nothing when there are none.
pub(crate) fn encode_headers(headers: &[(String, Bytes)]) -> Option<Vec<u8>> {
    if headers.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(headers.iter().map(|(n, v)| n.len() + v.len() + 8).sum());
    for (name, value) in headers {
        put(&mut out, name.as_bytes());
        put(&mut out, value);
    }
    Some(out)
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The reverse of [`encode_headers`]; nothing when the bytes are not what it wrote.
pub(crate) fn decode_headers(bytes: Option<&[u8]>) -> Option<Vec<(String, Bytes)>> {
    let mut rest = bytes.unwrap_or_default();
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let name = String::from_utf8(take(&mut rest)?.to_vec()).ok()?;
        headers.push((name, Bytes::copy_from_slice(take(&mut rest)?)));
    }
    Some(headers)
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let (bytes, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = tail;
    Some(bytes)
}

/// The CRC-32 of a record with its place and time, so that a swapped or shifted row is found as well as a flipped bit.
pub(crate) fn checksum(row_id: i64, appended_at: Micros, parts: [Option<&[u8]>; 3]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&row_id.to_le_bytes());
    hasher.update(&appended_at.to_le_bytes());
    for part in parts {
        let length = part.map_or(u64::MAX, |bytes| bytes.len() as u64);
        hasher.update(&length.to_le_bytes());
        hasher.update(part.unwrap_or_default());
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_partition_of_a_key_never_changes() {
        // Published FNV-1a vectors: "" cbf29ce484222325, "a" af63dc4c8601ec8c, "foobar" 85944171f73967e8.
        for (key, hash) in [("", 0xcbf2_9ce4_8422_2325_u64), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)] {
            assert_eq!(u64::from(partition_of(key.as_bytes(), 1_000_003)), hash % 1_000_003, "{key}");
        }
        assert_eq!(partition_of(b"anything", 1), 0);
    }

    #[test]
    fn row_ids_sort_by_partition_and_offset() {
        assert!(row_id(1, OFFSET_LIMIT - 1) < row_id(2, 0));
        assert_eq!(offset_of(row_id(LANE_LIMIT - 1, 12_345)), 12_345);
        assert!(row_id(LANE_LIMIT - 1, OFFSET_LIMIT - 1) > 0);
    }

    #[test]
    fn headers_come_back_and_torn_ones_do_not() {
        let headers =
            vec![("a".to_owned(), Bytes::from_static(b"1")), (String::new(), Bytes::new()), ("a".to_owned(), Bytes::new())];
        let bytes = encode_headers(&headers).unwrap();
        assert_eq!(decode_headers(Some(&bytes)).unwrap(), headers);
        assert_eq!(decode_headers(Some(&bytes[..bytes.len() - 1])), None);
        assert_eq!(decode_headers(None), Some(vec![]));
    }

    #[test]
    fn the_checksum_tells_absent_from_empty_and_one_field_from_the_next() {
        let sum = |parts| checksum(1, 2, parts);
        assert_ne!(sum([None, None, None]), sum([Some(b""), None, None]));
        assert_ne!(sum([Some(b"ab"), Some(b"c"), None]), sum([Some(b"a"), Some(b"bc"), None]));
        assert_ne!(checksum(1, 2, [None; 3]), checksum(2, 2, [None; 3]));
    }
}
