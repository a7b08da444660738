"""How the answer pages look: on any phone, by day and by night, in letters of any size."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ink: #17202a; --paper: #fff; --soft: #5b6672;
  --edge: #6b7683; --go: #0b6b3a; --on-go: #fff; --good: #0b6b3a;
  --red: #c62828; --orange: #b35000; --yellow: #7a6000; --blue: #1565c0 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eef1f4; --paper: #14181c; --soft: #a3adb8; --edge: #7d8894; --go: #177a48;
    --good: #5fd49a; --red: #ff7a70; --orange: #ffa04d; --yellow: #ffd54a; --blue: #7ab8ff }
}
* { box-sizing: border-box }
html { scroll-padding-bottom: 9rem; -webkit-text-size-adjust: 100% }
body { margin: 0; background: var(--paper); color: var(--ink); word-break: break-word;
  overflow-wrap: anywhere;
  font-family: system-ui, "Noto Sans CJK SC", "Noto Sans SC", sans-serif;
  font-size: 1.0625rem; line-height: 1.5 }
main { max-width: 34rem; margin: 0 auto; padding: .8rem 1rem 1rem }
:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px }
h1 { font-size: 1.4rem; line-height: 1.25; margin: .5rem 0 .4rem }
h2 { font-size: 1.2rem; line-height: 1.25; margin: 1rem 0 .3rem }
p { margin: .4rem 0; white-space: pre-line }
.level { display: inline-block; padding: .1rem .6rem; border: 3px solid currentColor;
  border-radius: .3rem; font-weight: 700 }
.red { color: var(--red) } .orange { color: var(--orange) }
.yellow { color: var(--yellow) } .blue { color: var(--blue) }
.order { font-size: 1.15rem; font-weight: 700 }
.good, .warn, .mark { border-left: .3rem solid var(--good); padding-left: .6rem; font-weight: 700 }
.good::before { content: "✓ "; content: "✓ " / ""; color: var(--good) }
.warn { border-color: var(--red) }
.warn::before { content: "! "; content: "! " / ""; color: var(--red) }
.mark { border: 3px dashed currentColor; padding: .2rem .6rem }
.quote { border-left: .3rem solid var(--edge); margin: 1rem 0; padding-left: .8rem;
  color: var(--soft) }
.item { position: relative; display: flex; gap: .7rem; align-items: flex-start;
  border: 2px solid var(--edge); border-radius: .5rem; padding: .7rem; margin: .6rem 0;
  color: inherit; font-size: 1.0625rem }
.item:has(:checked) { border-color: var(--good) }
.item:has(:focus-visible) { outline: 3px solid var(--blue); outline-offset: 2px }
.item input { appearance: none; flex: none; width: 2.2rem; height: 2.2rem; min-height: 0; margin: 0;
  padding: 0;
  border: 3px solid var(--edge); border-radius: .3rem; background: transparent; display: grid;
  place-content: center }
.item input:checked { background: var(--go); border-color: var(--good) }
.item input:checked::before { content: "✓"; color: var(--on-go); font-weight: 700;
  font-size: 1.5rem; line-height: 1 }
.item b { display: block } .item span { white-space: pre-line; min-width: 0 }
.bar { position: sticky; bottom: 0; background: var(--paper); padding: .5rem 0;
  padding-bottom: max(.5rem, env(safe-area-inset-bottom)) }

button, a.button, footer a { display: block; width: 100%; min-height: 3rem; padding: .6rem;
  font: inherit; font-weight: 700; text-align: center; text-decoration: none;
  border: 2px solid var(--edge);
  border-radius: .5rem; margin-top: .5rem; background: transparent; color: inherit }
button[hidden] { display: none }
.accept, a.accept { background: var(--go); border-color: var(--good); color: var(--on-go);
  font-size: 1.2rem; min-height: 3.4rem }
.apart { margin-top: 1.2rem }
.people { display: flex; flex-wrap: wrap; gap: 0 .6rem; align-items: flex-end }
.people button { flex: 1 1 9rem; width: auto }
.people label { flex: 0 1 6.5rem; margin-top: .3rem }
label { display: block; margin: .8rem 0 .2rem; color: var(--soft); font-size: 1rem }
input, textarea { width: 100%; min-height: 3rem; padding: .6rem; border: 2px solid var(--edge);
  border-radius: .4rem; background: transparent; color: inherit; font: inherit }
footer { margin-top: 1rem; color: var(--soft) }
footer a { color: var(--ink); font-size: 1.2rem; margin-top: .2rem }
dl { border-top: 1px solid var(--edge); margin: 1rem 0 0; padding-top: .6rem; color: var(--soft);
  font-size: 1rem }
dt { font-weight: 600 }
dd { margin: 0 0 .4rem }
/* Large letters, or a phone on its side: what is to be read needs the room. */
.jump { display: none }
@media (max-height: 32rem) {
  .bar { display: contents } .bar .accept { position: sticky; bottom: .4rem }
}
@media (max-width: 17rem) {
  main { padding: .5rem } h1 { font-size: 1.15rem } .order { font-size: 1.05rem }
  .item { flex-direction: column; padding: .5rem; gap: .3rem }
}
@media (max-height: 15rem), print { .bar, .bar .accept { position: static } }
"""
