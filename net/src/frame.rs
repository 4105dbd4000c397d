//! Frames, the unit of every Fairlane stream: client connections and authority links.
//!
//! ```text
//! length u32 BE | version u8 = 1 | kind u8 | body
//! ```
//!
//! `length` counts the bytes after itself: version, kind and body, so it is at least 2. What a kind means is not known
//! here. Reading is in [`crate::deframe`].

use std::mem;

/// The version byte of every frame.
pub const VERSION: u8 = 1;

/// Bytes of the length field.
pub const LENGTH_BYTES: usize = 4;

/// Bytes before the body: length, version, kind.
pub const HEADER_BYTES: usize = LENGTH_BYTES + LENGTH_MIN as usize;

/// The least value of the length field: version and kind, no body.
pub const LENGTH_MIN: u32 = 2;

/// A frame, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the body is.
    pub kind: u8,
    /// The body.
    pub body: &'a [u8],
}

/// Why a stream is no sequence of frames. The stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field is above the connection's bound.
    #[error("a frame of {length} bytes, above the bound of {length_max}")]
    TooLong {
        /// As claimed or asked for.
        length: u32,
        /// The bound.
        length_max: u32,
    },
    /// The length field leaves no room for version and kind.
    #[error("a frame of {length} bytes, too short for its version and kind")]
    Empty {
        /// As claimed.
        length: u32,
    },
    /// The version byte is not [`VERSION`].
    #[error("frame version {0}, expected {VERSION}")]
    BadVersion(u8),
    /// A reader let go of fed bytes without reading all of their frames.
    #[error("frames were left unread")]
    LeftUnread,
}

/// Appends one frame to a buffer, its body written in place.
///
/// Dropped without [`FrameWriter::finish`], it takes back what it appended.
#[derive(Debug)]
pub struct FrameWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> FrameWriter<'a> {
    /// Starts a frame of `kind` at the end of `out`.
    pub fn begin(out: &'a mut Vec<u8>, kind: u8) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        out.extend_from_slice(&[VERSION, kind]);
        Self { out, start }
    }

    /// Where the body is appended. What stands before is not to be touched.
    pub fn body(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Writes the length.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when the length is above `length_max`; the frame is taken back.
    ///
    /// # Panics
    /// If the caller shortened the buffer below the frame's header: a bug.
    pub fn finish(self, length_max: u32) -> Result<(), FrameError> {
        assert!(
            self.out.len() >= self.start + HEADER_BYTES,
            "the header of an open frame stays in place"
        );
        let body_start = self.start + LENGTH_BYTES;
        let length = u32::try_from(self.out.len() - body_start).unwrap_or(u32::MAX);
        if length > length_max {
            return Err(FrameError::TooLong { length, length_max });
        }
        self.out[self.start..body_start].copy_from_slice(&length.to_be_bytes());
        // The frame is whole: nothing is to be taken back.
        mem::forget(self);
        Ok(())
    }
}

impl Drop for FrameWriter<'_> {
    fn drop(&mut self) {
        self.out.truncate(self.start);
    }
}

/// Appends a frame whose body is at hand.
///
/// # Errors
/// [`FrameError::TooLong`] when its length is above `length_max`; `out` is as before.
pub fn append(out: &mut Vec<u8>, kind: u8, body: &[u8], length_max: u32) -> Result<(), FrameError> {
    let mut frame = FrameWriter::begin(out, kind);
    frame.body().extend_from_slice(body);
    frame.finish(length_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_these_bytes() {
        let mut out = vec![0xaa];
        append(&mut out, 7, b"hi", 16).unwrap();
        assert_eq!(out, [0xaa, 0, 0, 0, 4, 1, 7, b'h', b'i']);
        append(&mut out, 8, b"", 16).unwrap();
        assert_eq!(out[9..], [0, 0, 0, 2, 1, 8]);
    }

    #[test]
    fn a_frame_above_the_bound_or_unfinished_leaves_nothing() {
        let mut out = vec![1, 2, 3];
        let error = append(&mut out, 7, &[0; 15], 16).unwrap_err();
        let expected = FrameError::TooLong {
            length: 17,
            length_max: 16,
        };
        assert_eq!(error, expected);
        assert_eq!(out, [1, 2, 3]);
        append(&mut out, 7, &[0; 14], 16).unwrap();
        out.truncate(3);
        let mut unfinished = FrameWriter::begin(&mut out, 7);
        unfinished.body().push(1);
        drop(unfinished);
        assert_eq!(out, [1, 2, 3]);
    }
}
