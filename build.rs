//! Makes the binary begin in src/sys/early.rs, at a fixed address.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| {
        std::env::var(name).is_ok_and(|found| found.split(',').any(|word| word == value))
    };
    if !["gnu", "musl"]
        .iter()
        .any(|name| is("CARGO_CFG_TARGET_ENV", name))
    {
        return;
    }
    if is("CARGO_CFG_TARGET_ARCH", "x86_64") {
        println!("cargo::rustc-link-arg-bin=rt=-Wl,-e,rt_entry");
    }
    // docs/benchmarks.md, "A fixed address": 5800 relocations at each start otherwise. For musl rustc
    // itself brings the start files, which go by its own flag in .cargo/config.toml; RUSTFLAGS in
    // the environment takes that away.
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let fixed = is("CARGO_CFG_TARGET_ENV", "gnu")
        || std::env::var("CARGO_ENCODED_RUSTFLAGS")
            .is_ok_and(|flags| flags.contains("relocation-model=static"));
    if fixed && is("CARGO_CFG_TARGET_FEATURE", "crt-static") {
        println!("cargo::rustc-link-arg-bin=rt=-no-pie");
        println!("cargo::rustc-link-arg-bin=rt=-static");
    }
}
