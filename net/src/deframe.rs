//! Cutting a byte stream into frames without copying those that came whole.
//!
//! Bytes come in pieces as the network cuts them. A frame that lies in one piece is handed out as a part of it; one
//! that is split is assembled in a buffer.
//!
//! Invariants: D1. The assembly holds at most one frame, and never more than the stream's bound plus the length field;
//! it grows with the bytes that came, so a claimed length costs nothing. D2. After an error every feed fails with the
//! same error. D3. Length and version are judged as soon as their bytes are there.

use crate::frame::{Frame, FrameError, HEADER_BYTES, LENGTH_BYTES, LENGTH_MIN, VERSION};

/// The reading side of one stream.
#[derive(Debug)]
pub struct Deframer {
    length_max: u32,
    assembly: Vec<u8>,
    /// The assembly was handed out and is to be cleared.
    is_handed_out: bool,
    failed: Option<FrameError>,
}

/// The frames of one piece of the stream; made by [`Deframer::feed`].
#[derive(Debug)]
#[must_use = "frames left unread end the stream"]
pub struct Frames<'d, 'b> {
    deframer: &'d mut Deframer,
    rest: &'b [u8],
}

impl Deframer {
    /// A stream whose frames have a length field of at most `length_max`.
    pub fn new(length_max: u32) -> Self {
        Self {
            length_max,
            assembly: Vec::new(),
            is_handed_out: false,
            failed: None,
        }
    }

    /// Takes the next piece. All frames have to be read: those left when the reader is dropped fail the stream.
    pub fn feed<'d, 'b>(&'d mut self, bytes: &'b [u8]) -> Frames<'d, 'b> {
        Frames {
            deframer: self,
            rest: bytes,
        }
    }

    /// Bytes held of a frame that has not fully come.
    pub fn held_bytes(&self) -> usize {
        if self.is_handed_out {
            0
        } else {
            self.assembly.len()
        }
    }

    /// Judges the start of a frame: its total size once the header is there, `None` before.
    fn size_of_frame(&self, start: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some((length, after)) = start.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        let length_max = self.length_max;
        if length < LENGTH_MIN {
            return Err(FrameError::Empty { length });
        }
        if length > length_max {
            return Err(FrameError::TooLong { length, length_max });
        }
        match after.first() {
            Some(&version) if version != VERSION => Err(FrameError::BadVersion(version)),
            _ if start.len() < HEADER_BYTES => Ok(None),
            _ => Ok(Some(LENGTH_BYTES + length as usize)),
        }
    }

    fn clear_handed_out(&mut self) {
        if self.is_handed_out {
            self.is_handed_out = false;
            self.assembly.clear();
            self.assembly.shrink_to(ASSEMBLY_KEPT_BYTES);
        }
    }
}

impl<'b> Frames<'_, 'b> {
    /// The next whole frame, `None` when the rest of the piece is not one; it is then kept for the next piece.
    ///
    /// Not an `Iterator`: a frame borrows from the reader.
    ///
    /// # Errors
    /// The stream is broken, now and for ever (D2).
    #[expect(
        clippy::should_implement_trait,
        reason = "an Iterator cannot lend from itself"
    )]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        if let Some(error) = self.deframer.failed {
            return Err(error);
        }
        self.deframer.clear_handed_out();
        let found = if self.deframer.assembly.is_empty() {
            self.cut()
        } else {
            self.assemble()
        };
        match found {
            Ok(Found::InPiece(frame)) => Ok(Some(parse(frame))),
            Ok(Found::Assembled) => Ok(Some(parse(&self.deframer.assembly))),
            Ok(Found::Nothing) => Ok(None),
            Err(error) => {
                self.deframer.failed = Some(error);
                Err(error)
            }
        }
    }

    /// Finds a frame at the front of the piece, or keeps what may become one.
    fn cut(&mut self) -> Result<Found<'b>, FrameError> {
        let size = self.deframer.size_of_frame(self.rest)?;
        let whole = size.and_then(|size| self.rest.split_at_checked(size));
        let Some((frame, rest)) = whole else {
            self.keep(self.rest.len());
            return Ok(Found::Nothing);
        };
        self.rest = rest;
        Ok(Found::InPiece(frame))
    }

    /// Adds to the assembly what belongs to its frame, first the header, then what the header asks for.
    fn assemble(&mut self) -> Result<Found<'b>, FrameError> {
        let held = self.deframer.assembly.len();
        self.keep(HEADER_BYTES.saturating_sub(held));
        let Some(size) = self.deframer.size_of_frame(&self.deframer.assembly)? else {
            return Ok(Found::Nothing);
        };
        self.keep(size - self.deframer.assembly.len());
        if self.deframer.assembly.len() < size {
            return Ok(Found::Nothing);
        }
        self.deframer.is_handed_out = true;
        Ok(Found::Assembled)
    }

    /// Moves up to `count` bytes from the piece to the assembly.
    fn keep(&mut self, count: usize) {
        let (kept, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.deframer.assembly.extend_from_slice(kept);
        self.rest = rest;
    }
}

impl Drop for Frames<'_, '_> {
    fn drop(&mut self) {
        if !self.rest.is_empty() && self.deframer.failed.is_none() {
            self.deframer.failed = Some(FrameError::LeftUnread);
        }
    }
}

/// Where a whole frame lies.
enum Found<'b> {
    InPiece(&'b [u8]),
    Assembled,
    Nothing,
}

/// Reads a frame that was judged whole.
fn parse(frame: &[u8]) -> Frame<'_> {
    Frame {
        kind: frame[HEADER_BYTES - 1],
        body: &frame[HEADER_BYTES..],
    }
}

/// Memory that a stream keeps between split frames; beyond it, it is given back.
const ASSEMBLY_KEPT_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame;

    const LENGTH_MAX: u32 = 1 << 16;

    fn stream(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, body) in frames {
            frame::append(&mut out, *kind, body, LENGTH_MAX).unwrap();
        }
        out
    }

    fn read(deframer: &mut Deframer, piece: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, FrameError> {
        let mut read = Vec::new();
        let mut frames = deframer.feed(piece);
        while let Some(frame) = frames.next()? {
            read.push((frame.kind, frame.body.to_vec()));
        }
        Ok(read)
    }

    proptest! {
        #[test]
        fn any_split_of_a_stream_yields_the_same_frames(
            frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)), 0..12),
            mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let bytes = stream(&frames);
            let mut at: Vec<usize> = cuts.drain(..).map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let mut deframer = Deframer::new(LENGTH_MAX);
            let mut got = Vec::new();
            for cut in at.windows(2) {
                got.extend(read(&mut deframer, &bytes[cut[0]..cut[1]]).unwrap());
            }
            prop_assert_eq!(got, frames);
            prop_assert_eq!(deframer.held_bytes(), 0);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_hold_no_more_than_the_bound(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..20),
            lengths_small in any::<bool>(),
        ) {
            let mut deframer = Deframer::new(100);
            for mut piece in pieces {
                if lengths_small {
                    piece.splice(0..0, [0, 0, 0, 90, 1]);
                }
                let _ = read(&mut deframer, &piece);
                prop_assert!(deframer.held_bytes() <= 100 + LENGTH_BYTES);
            }
        }
    }

    #[test]
    fn a_frame_that_comes_byte_by_byte_is_the_same() {
        let frames = vec![(1, vec![9; 40]), (2, vec![]), (3, vec![7])];
        let mut deframer = Deframer::new(LENGTH_MAX);
        let mut got = Vec::new();
        for byte in stream(&frames) {
            got.extend(read(&mut deframer, &[byte]).unwrap());
        }
        assert_eq!(got, frames);
    }

    #[test]
    fn a_whole_frame_is_borrowed_from_the_piece() {
        let bytes = stream(&[(1, vec![5; 10]), (2, vec![6; 10])]);
        let mut deframer = Deframer::new(LENGTH_MAX);
        let mut frames = deframer.feed(&bytes);
        while let Some(frame) = frames.next().unwrap() {
            assert!(bytes.as_ptr_range().contains(&frame.body.as_ptr()));
        }
    }

    #[test]
    fn a_claimed_length_above_the_bound_is_refused_before_its_bytes_come() {
        let mut deframer = Deframer::new(1000);
        let expected = FrameError::TooLong {
            length: 1001,
            length_max: 1000,
        };
        assert_eq!(read(&mut deframer, &1001u32.to_be_bytes()), Err(expected));
        assert_eq!(deframer.held_bytes(), 0);
    }

    #[test]
    fn a_claimed_length_within_the_bound_takes_no_memory_yet() {
        let mut deframer = Deframer::new(u32::MAX);
        assert_eq!(read(&mut deframer, &[0xff, 0, 0, 0, 1, 1]), Ok(vec![]));
        assert!(deframer.assembly.capacity() < 1024);
    }

    #[test]
    fn the_bound_itself_is_allowed() {
        let mut bytes = Vec::new();
        frame::append(&mut bytes, 1, &[0; 98], 100).unwrap();
        assert_eq!(read(&mut Deframer::new(100), &bytes).unwrap().len(), 1);
    }

    #[test]
    fn a_length_without_room_for_the_header_is_refused() {
        for length in [0u32, 1] {
            let got = read(&mut Deframer::new(1000), &length.to_be_bytes());
            assert_eq!(got, Err(FrameError::Empty { length }));
        }
    }

    #[test]
    fn a_foreign_version_is_refused_as_soon_as_its_byte_is_there() {
        let mut deframer = Deframer::new(1000);
        assert_eq!(read(&mut deframer, &[0, 0, 0, 9]), Ok(vec![]));
        let got = read(&mut deframer, &[2]);
        assert_eq!(got, Err(FrameError::BadVersion(2)));
    }

    #[test]
    fn a_broken_stream_stays_broken() {
        let mut deframer = Deframer::new(1000);
        let broken = Err(FrameError::Empty { length: 0 });
        assert_eq!(read(&mut deframer, &[0; 4]), broken);
        assert_eq!(read(&mut deframer, &stream(&[(1, vec![])])), broken);
    }

    #[test]
    fn frames_left_unread_end_the_stream() {
        let bytes = stream(&[(1, vec![]), (2, vec![])]);
        let mut deframer = Deframer::new(1000);
        let mut frames = deframer.feed(&bytes);
        assert!(frames.next().unwrap().is_some());
        drop(frames);
        assert_eq!(read(&mut deframer, &[]), Err(FrameError::LeftUnread));
    }
}
