use crate::error::Result;
use nix::poll::PollFd;
use std::os::fd::*;
pub struct Pty {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}
pub fn open_pty(_root: BorrowedFd, _size: Option<(u16, u16)>, _uid: u32, _gid: u32) -> Result<Pty> {
    Err(crate::error::Error::unsupported("terminal"))
}
pub fn make_controlling(_slave: OwnedFd) -> Result<()> {
    Ok(())
}
pub fn reopen_dev_null() -> Result<()> {
    Ok(())
}
pub fn fix_stdio_ownership(_u: u32, _g: u32) -> Result<()> {
    Ok(())
}
pub fn send_to_console_socket(_p: &std::path::Path, _m: BorrowedFd) -> Result<()> {
    Ok(())
}
pub struct Foreground;
impl Foreground {
    pub fn new(_m: OwnedFd) -> Result<Foreground> {
        Ok(Foreground)
    }
    pub fn fds(&self) -> Vec<PollFd<'_>> {
        vec![]
    }
    pub fn on_ready(&mut self) -> Result<()> {
        Ok(())
    }
    pub fn resize(&mut self) -> Result<()> {
        Ok(())
    }
    pub fn finish(self) {}
}
