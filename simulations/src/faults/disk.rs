//! A machine's disk as the log sees it: full, failing, or the place where the machine falls.

use std::fs::File;
use std::io;
use std::sync::Weak;
use std::sync::atomic::{AtomicU8, Ordering};

use windvane::evidence::disk::{Disk, SystemDisk};

use super::machine::Machine;

/// What happens at the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// It is written.
    Sound = 0,
    /// Half of it is written, and the system says that there is no more space; so from then on.
    Full = 1,
    /// It is written, and cannot be made durable; so from then on.
    Unsyncable = 2,
    /// The machine falls with half of it written.
    FallsTorn = 3,
    /// The machine falls before anything of it is written.
    FallsBefore = 4,
    /// The machine falls with all of it written, and nobody was told.
    FallsAfter = 5,
}

impl Mode {
    const ALL: [Self; 6] =
        [Self::Sound, Self::Full, Self::Unsyncable, Self::FallsTorn, Self::FallsBefore, Self::FallsAfter];
}

/// The mode of a machine's disk, which outlives its runs.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

impl Health {
    /// Sets what happens next.
    pub fn set(&self, mode: Mode) {
        self.0.store(mode as u8, Ordering::SeqCst);
    }

    fn mode(&self) -> Mode {
        Mode::ALL[usize::from(self.0.load(Ordering::SeqCst))]
    }
}

/// The disk of one run of a machine. What has fallen writes nothing any more.
#[derive(Debug)]
pub struct MachineDisk {
    pub(super) machine: Weak<Machine>,
    pub(super) life: u32,
}

impl Disk for MachineDisk {
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let machine = self.machine.upgrade().filter(|machine| machine.is_up(self.life));
        let Some(machine) = machine else { return Err(io::ErrorKind::NotConnected.into()) };
        let half = &bytes[..bytes.len() / 2];
        match machine.health().mode() {
            Mode::Sound | Mode::Unsyncable => SystemDisk.write(file, bytes, at),
            Mode::Full => {
                SystemDisk.write(file, half, at)?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Mode::FallsTorn => fall(&machine, || SystemDisk.write(file, half, at)),
            Mode::FallsBefore => fall(&machine, || Ok(())),
            Mode::FallsAfter => fall(&machine, || SystemDisk.write(file, bytes, at)),
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let machine = self.machine.upgrade().filter(|machine| machine.is_up(self.life));
        let Some(machine) = machine else { return Err(io::ErrorKind::NotConnected.into()) };
        match machine.health().mode() {
            Mode::Unsyncable => Err(io::Error::other("the disk does not answer")),
            _ => SystemDisk.sync(file),
        }
    }
}

fn fall(machine: &Machine, before: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    before()?;
    machine.health().set(Mode::Sound);
    machine.fall();
    Err(io::ErrorKind::NotConnected.into())
}
