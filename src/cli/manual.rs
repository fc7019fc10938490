//! Man pages and completions, from the definitions that the parser is made of.
//!
//! Not in the shipped binary: `hack/manual` builds one with the feature `manual`, which has
//! the words `rt manual FOLDER`.
//!
//! Runs in: parent.

use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::{parse, version};
use crate::error::{Error, Result};

/// What rt(1) says beside its options. What a verb does belongs into its own definition.
const MORE: &str = r#".SH "EXIT STATUS"
That of the payload, or 128 plus the number of the signal that ended it, of a run or exec in the foreground. 1 where rt failed, 255 where exec could
not start its process, and 1 of a check that found errors. The reason is on standard error, in one line, with a second one for a remedy where one is known.
.SH ENVIRONMENT
.TP
\fBXDG_RUNTIME_DIR\fR
holds the state of an ordinary user's containers, and of a user namespace's.
.TP
\fBNOTIFY_SOCKET\fR
of create and start, or run: where the service manager listens, sd_notify(3). The payload gets a socket at /run/notify/notify.sock, and what it says there
goes on: READY=1 with the number of the process to watch, its state, barriers. start and run \-\-detach return when it is ready.
.TP
\fBLISTEN_FDS\fR, \fBLISTEN_PID\fR
descriptors that the payload gets, sd_listen_fds(3).
.TP
\fBPATH\fR
where newuidmap(1), newgidmap(1) and criu(8) are looked for.
.SH FILES
.TP
\fI/run/rt\fR, \fI$XDG_RUNTIME_DIR/rt\fR
a folder for each container, unless \-\-root names another place.
.TP
\fIconfig.json\fR
in the bundle: what the container is to be, by the OCI runtime specification.
.SH "SEE ALSO"
"#;

/// Writes `man/*.1`, `bash/rt`, `zsh/_rt` and `fish/rt.fish` below `folder`.
pub fn write(folder: &Path) -> Result<()> {
    let verbs: Vec<Command> = verbs().collect();
    let names: Vec<String> = verbs
        .iter()
        .map(|verb| format!("rt-{}", verb.get_name()))
        .collect();
    let references: Vec<String> = names.iter().map(|name| reference(name)).collect();
    let more = format!("{MORE}{}\n", references.join(",\n"));
    save(
        folder,
        "man/rt.1",
        &page(
            parse::everything().disable_help_subcommand(true),
            "rt",
            &more,
        ),
    )?;
    for (verb, name) in verbs.into_iter().zip(&names) {
        let more = format!(".SH \"SEE ALSO\"\n{}\n", reference("rt"));
        save(folder, &format!("man/{name}.1"), &page(verb, name, &more))?;
    }
    for (shell, file) in [
        (Shell::Bash, "bash/rt"),
        (Shell::Zsh, "zsh/_rt"),
        (Shell::Fish, "fish/rt.fish"),
    ] {
        let mut text = Vec::new();
        generate(shell, &mut parse::everything(), "rt", &mut text);
        save(folder, file, &text)?;
    }
    Ok(())
}

/// Every verb that does something, as its own command.
fn verbs() -> impl Iterator<Item = Command> {
    let mut everything = parse::everything();
    everything.build();
    let verbs: Vec<Command> = everything.get_subcommands().cloned().collect();
    verbs.into_iter().filter(|verb| verb.get_name() != "help")
}

fn page(mut command: Command, name: &str, more: &str) -> Vec<u8> {
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let has_description = command.get_long_about().is_some();
    let has_more = command.get_after_help().is_some() || command.get_after_long_help().is_some();
    let has_verbs = command.has_subcommands();
    // No date, so that two builds of one source are the same. clap_mangen leaves an empty one
    // out, with its place, and its synopsis has options without their values.
    let mut text = format!(
        ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH \"{name}\" 1 \"\" \"rt {}\" \"User Commands\"\n",
        version::NUMBER
    )
    .into_bytes();
    let page = Man::new(command.display_name(name.to_owned()));
    // Writing to memory does not fail.
    let _ = page.render_name_section(&mut text);
    let synopsis = usage.trim().replace('\\', "\\\\").replace('-', "\\-");
    text.extend(format!(".SH SYNOPSIS\n.nf\n{synopsis}\n.fi\n").bytes());
    if has_description {
        let _ = page.render_description_section(&mut text);
    }
    let _ = page.render_options_section(&mut text);
    if has_verbs {
        let _ = page.render_subcommands_section(&mut text);
    }
    if has_more {
        let _ = page.render_extra_section(&mut text);
    }
    text.extend(more.as_bytes());
    text
}

fn reference(name: &str) -> String {
    format!("\\fB{}\\fR(1)", name.replace('-', "\\-"))
}

fn save(folder: &Path, name: &str, text: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(|e| Error::io("mkdir", parent, &e))?;
    std::fs::write(&path, text).map_err(|e| Error::io("write", &path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::VERBS;

    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn written(name: &str) -> Scratch {
            let folder = format!("rt-manual-{name}-{}", std::process::id());
            let scratch = Scratch(std::env::temp_dir().join(folder));
            write(&scratch.0).unwrap();
            scratch
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.0.join(name)).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn every_verb_has_a_page_with_all_of_its_options() {
        let scratch = Scratch::written("pages");
        let main = scratch.read("man/rt.1");
        for verb in &VERBS {
            assert!(
                main.contains(&reference(&format!("rt-{}", verb.name))),
                "{}",
                verb.name
            );
        }
        for verb in verbs() {
            let page = scratch.read(&format!("man/rt-{}.1", verb.get_name()));
            let options = verb.get_arguments().filter(|arg| !arg.is_hide_set());
            for long in options.filter_map(|arg| arg.get_long()) {
                let shown = format!("\\-\\-{}", long.replace('-', "\\-"));
                assert!(page.contains(&shown), "{}: {long}", verb.get_name());
            }
            assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH \"SEE ALSO\""));
        }
    }

    #[test]
    fn completions_know_every_verb() {
        let scratch = Scratch::written("completions");
        for file in ["bash/rt", "zsh/_rt", "fish/rt.fish"] {
            let text = scratch.read(file);
            for verb in &VERBS {
                assert!(text.contains(verb.name), "{file}: {}", verb.name);
            }
        }
    }
}
