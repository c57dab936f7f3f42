//! A descriptor that can be read from when something has happened.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// Rung by one thread, heard by another; one byte however often.
pub struct Bell {
    mouth: UnixStream,
    ear: UnixStream,
}

impl Bell {
    pub fn new() -> io::Result<Self> {
        let (mouth, ear) = UnixStream::pair()?;
        mouth.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Self { mouth, ear })
    }

    /// What can be read from when it has been rung.
    pub fn descriptor(&self) -> RawFd {
        self.ear.as_raw_fd()
    }

    /// Rings, where `rung` says that nobody has since it was last heard.
    pub fn ring(&self, rung: &mut bool) {
        if !*rung {
            *rung = true;
            // There is room for one byte: no other is in it.
            let _rung = (&self.mouth).write(&[1]);
        }
    }

    /// Silences it.
    pub fn hear(&self, rung: &mut bool) {
        if *rung {
            *rung = false;
            // One ring, one byte.
            let _rung = (&self.ear).read(&mut [0; 8]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rings_once_for_many_and_again_after_a_look() {
        let bell = Bell::new().unwrap();
        let bytes = || (&bell.ear).read(&mut [0; 8]).unwrap_or(0);
        let mut rung = false;
        bell.ring(&mut rung);
        bell.ring(&mut rung);
        assert_eq!(bytes(), 1);
        rung = false;
        bell.ring(&mut rung);
        bell.hear(&mut rung);
        assert_eq!((bytes(), rung), (0, false));
    }
}
