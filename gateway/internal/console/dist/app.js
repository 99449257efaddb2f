import{A as Ke,B as K,C as Ge,a as Re,b as Le,c as Ue,d as Ie,f as De,g as Ae,h as Me,i as je,j as Be,k as Pe,l as B,m as Ne,n as Oe,o as H,p as _e,q as L,r as qe,s as U,t as P,u as J,v as E,w as ze,x as Fe,y as He,z as Je}from"./chunk-ZYWIXDYF.js";import{A as ue,C as de,D as pe,E as x,F as b,G as R,K as fe,S as me,U as v,V as he,W as T,X as $e,Z as ge,a as ne,b as oe,da as be,ea as z,f as re,fa as F,g as m,h as $,ha as ve,i as S,ia as ye,j as g,ja as we,ka as ke,l as ae,m as se,ma as Ce,n as D,na as xe,o,pa as C,qa as A,ra as M,sa as Te,va as j,w as ie,wa as Ee,xa as Se,y as le,z as ce}from"./chunk-CTGOGAEL.js";var W={upload:()=>import("./upload-WWNS37MS.js"),jobs:()=>import("./jobs-UIVS66MM.js"),job:()=>import("./job-G3DNN5UK.js"),viewer:()=>import("./viewer-IQ5BPPGN.js"),system:()=>import("./system-PWI7N252.js")},We={},G=null;function dt(){return G??=new Promise((e,t)=>{let n=Object.assign(document.createElement("link"),{rel:"stylesheet",href:"later.css",onload:e});n.onerror=()=>{G=null,n.remove(),t(new Error("later.css could not be loaded"))},document.head.append(n)}),G}async function Y(e){let[t]=await Promise.all([W[e](),dt()]);We[e]=t.default}var Ye=e=>e in W&&Y(e).catch(()=>{});function Qe(e,t){let n=t[e]??We[e]??null,[i,r]=m(null),[l,a]=m(0);$(()=>{if(n)return;let u=!0,s=p=>u&&r({name:e,error:p});return Y(e).then(()=>s(null),async()=>{await Ce(),s({text:"A part of this page could not be loaded",advice:"Check the network connection. If it happens again, reload the page."})}),()=>{u=!1}},[e,l]);let c=!n&&i?.name===e?i.error:null;return{screen:n,error:c,retry:()=>{r(null),a(u=>u+1)}}}function Q(e=Object.keys(W)){if(e.length===0||navigator.connection?.saveData)return;(globalThis.requestIdleCallback??(n=>setTimeout(n,500)))(()=>Y(e[0]).then(()=>Q(e.slice(1)),()=>{}),{timeout:5e3})}var N=Ue({over:!1}),pt=700,Ve=0;function _(e){clearTimeout(Ve),e&&(Ve=setTimeout(_,pt,!1)),N.get().over!==e&&N.set({over:e})}var V=e=>e instanceof Element&&e.closest('textarea, input:not([type="checkbox"], [type="file"])'),et=e=>Array.from(e?.types??[]).includes("text/uri-list"),O=!1;function Xe(e){O||!H(e.dataTransfer)&&(!et(e.dataTransfer)||V(e.target))||(e.preventDefault(),e.dataTransfer.dropEffect="copy",_(!0))}function ft(e){if(_(!1),O)return;let{dataTransfer:t}=e,n=H(t);!n&&(!et(t)||V(e.target))||(e.preventDefault(),n?U(_e(t,i=>L.set({reading:i}))):tt(t.getData("text/uri-list")),A().name!=="new"&&M(C("new")))}function tt(e){let{urls:t,problems:n}=B(e);return t.length===0||n.length>0?!1:(P(t),!0)}function Ze(e){let{clipboardData:t}=e;!t||V(e.target)||document.querySelector("dialog[open]")||(t.files.length>0?(e.preventDefault(),U(Oe(t))):tt(t.getData("text/plain"))||L.set({note:"The clipboard has neither an image nor a list of URLs."}))}function nt(){$(()=>(document.addEventListener("paste",Ze),()=>document.removeEventListener("paste",Ze)),[])}globalThis.document&&(addEventListener("dragstart",()=>{O=!0}),addEventListener("dragend",()=>{O=!1}),addEventListener("dragenter",Xe),addEventListener("dragover",Xe),addEventListener("dragleave",e=>!e.relatedTarget&&_(!1)),addEventListener("drop",ft));var ot=24,mt=3.5,rt=new WeakMap,X=null;function ht(e,t){return X??=new IntersectionObserver(n=>{for(let{target:i,isIntersecting:r}of n)rt.get(i)?.(r)},{rootMargin:"1000px"}),rt.set(e,t),X.observe(e),()=>X.unobserve(e)}function $t({items:e,start:t,total:n,onRemove:i}){let r=g(null),[l,a]=m(t===0);return $(()=>ht(r.current,c=>a(c||r.current.contains(document.activeElement))),[]),o`<div ref=${r} class="new-block" role="presentation" style=${{height:`${e.length*mt}rem`}}>
    ${l&&e.map((c,u)=>o`<${bt} key=${c.id} item=${c} position=${t+u+1} total=${n} onRemove=${i} />`)}
  </div>`}function gt({item:e}){let t=Re(e.file);return e.url?o`<span class="new-thumb" aria-hidden="true">URL</span>`:o`<span class="new-thumb">${t&&o`<img src=${t} alt="" />`}</span>`}function bt({item:e,position:t,total:n,onRemove:i}){let r=e.url?new URL(e.url).host:e.path.slice(0,Math.max(0,e.path.length-e.name.length-1));return o`<div class="new-row" role="listitem" aria-posinset=${t} aria-setsize=${n}>
    <label><input type="checkbox" checked=${e.ticked} onChange=${l=>J(e.id,l.currentTarget.checked)} />
      <${gt} item=${e} />
      <span class="new-text"><bdi class="new-name" title=${e.path}>${e.name}</bdi>
        <span class="new-facts">${e.sentAt>0&&o`<span class="badge tone-warn"><span aria-hidden="true">⚠</span> already sent ${fe(e.sentAt)}</span> `}
          ${!e.url&&R(e.size)}${r&&o`${!e.url&&" · "}<bdi>${r}</bdi>`}</span></span></label>
    <button type="button" class="plain icon" data-remove=${e.id} aria-label=${`Remove ${e.name}`} onClick=${()=>i(e.id)}><${vt} /></button>
  </div>`}var vt=()=>o`<svg class="drawing" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d="M4 4l8 8M12 4l-8 8" /></svg>`;function at({items:e}){let t=g(null),n=g(null),[i,r]=m(0),l=e.filter(s=>s.ticked).length,a=e.filter(s=>s.sentAt>0);S(()=>{t.current.indeterminate=l>0&&l<e.length}),S(()=>{i&&((n.current.querySelector(`[data-remove="${i}"]`)??t.current).focus(),r(0))},[i]);let c=s=>{let p=e.findIndex(y=>y.id===s),f=e[p+1]??e[p-1];E([s]),f&&r(f.id),v("Removed")},u=[];for(let s=0;s<e.length;s+=ot)u.push(s);return o`<div class="new-list">
    <div class="new-all">
      <label><input ref=${t} type="checkbox" checked=${l===e.length} onChange=${s=>J(null,s.currentTarget.checked)} />
        <span>${l===e.length?"All":`${x(l)} of ${x(e.length)}`} selected</span></label>
      ${a.length>0&&a.length<e.length&&o`<button type="button" class="plain" onClick=${()=>E(a.map(s=>s.id))}>Remove ${b(a.length,"sent one")}</button>`}
      <button type="button" class="plain" onClick=${()=>E()}>Remove all</button>
    </div>
    <div ref=${n} role="list" aria-label="Chosen images">
      ${u.map(s=>o`<${$t} key=${s} items=${e.slice(s,s+ot)} start=${s} total=${e.length} onRemove=${c} />`)}
    </div>
  </div>`}function st({onAdd:e,onClose:t}){let[n,i]=m(""),[r,l]=m(!1),a=g(null),[c,u,s]=[D(),D(),D()],{urls:p,problems:f}=B(n);return o`<${$e} title="Add URLs" wide onClose=${t}>
    <form onSubmit=${h=>{h.preventDefault(),l(!0),f.length===0&&p.length>0?e(p):a.current.focus()}}>
      <label for=${c}>One URL in each line</label>
      <textarea id=${c} ref=${a} class="mono new-urls" rows="8" spellcheck=${!1} autofocus value=${n} aria-invalid=${r&&f.length>0}
        aria-describedby=${`${u} ${s}`} onInput=${h=>i(h.currentTarget.value)}></textarea>
      <p id=${u} class="faint">The gateway downloads them. It must be able to reach them without a login.</p>
      <div id=${s} class="field-error">
        ${r&&p.length+f.length===0&&"Enter at least one URL."}
        ${r&&f.length>0&&o`<ul>${f.slice(0,5).map(({line:h,text:w,reason:I})=>o`<li key=${h}>Line ${h} ${I}: <bdi class="mono">${w}</bdi></li>`)}
          ${f.length>5&&o`<li>${b(f.length-5,"more line has a problem","more lines have a problem")}</li>`}</ul>`}
      </div>
      <div class="dialog-foot"><button type="button" onClick=${t}>Cancel</button>
        <button type="submit" class="primary">${p.length>0?`Add ${b(p.length,"URL")}`:"Add"}</button></div>
    </form>
  <//>`}function Z({limits:e,caller:t}){let{items:n,refused:i,note:r,reading:l}=L.use(),{upload:a}=Ae.use(),[c,u]=m(!1),[s,p]=m(ne("captions",!0)),f=Ct(a),y=g(null),h=g(null);nt(),$(()=>je(d=>{d.jobs.length!==0&&(d.seen=!0,M(Je(d)))}),[]);let w=ae(d=>(d==="folder"?h:y).current.click(),[]),I=d=>{U(Ne(d.currentTarget)),d.currentTarget.value=""},k=n.filter(d=>d.ticked),te=k.reduce((d,ut)=>d+ut.size,0),q=a&&a.state!=="done",it=t?.captions!==!1,lt=()=>{Be(k,{captions:e.captions&&!s?!1:void 0,maxImages:e.max_images}),E(k.map(d=>d.id))},ct=d=>{p(d),oe("captions",d?null:!1)};return o`<${T} title=${Ke(a)||"Send images"}>Send images<//>
    ${q?o`<${K} upload=${a} />`:f.upload&&o`<${He} ...${f} onChoose=${w} />`}
    ${!q&&a&&!a.seen&&o`<${K} upload=${a} />`}
    <section class=${me("new-drop",n.length>0&&"small")} aria-label="Choose images">
      ${n.length===0&&o`<${wt} />`}
      <p class="new-hint">Drop images or folders anywhere on this page, or paste them.</p>
      <div class="row">
        <button type="button" class=${n.length===0?"primary":""} onClick=${()=>w("files")}>Choose files</button>
        ${yt&&o`<button type="button" onClick=${()=>w("folder")}>Choose folder</button>`}
        <button type="button" onClick=${()=>u(!0)}>Add URLs</button>
      </div>
      ${n.length===0&&o`<p class="faint">JPEG and PNG, up to ${R(e.max_image_bytes)} each. Any number: they are sent in batches of up to ${b(e.max_images,"image")}.</p>`}
      <input ref=${y} type="file" hidden multiple accept="image/jpeg,image/png" onChange=${I} />
      <input ref=${h} type="file" hidden multiple webkitdirectory onChange=${I} />
    </section>
    ${l!==null&&o`<p class="new-reading">Reading files${l>0&&`: ${x(l)} so far`}…</p>`}
    ${r&&o`<p class="note new-note">${r}</p>`}
    <${ze} refused=${i} limit=${e.max_image_bytes} />
    ${n.length>0&&o`<${at} items=${n} />
      <div class="new-send">
        <${Fe} captions=${e.captions} allowed=${it} images=${k.length} value=${s} onChange=${ct} />
        <div class="row"><span class="new-count">${b(k.length,"image")}${te>0&&` · ${R(te)}`}</span>
          ${q?o`<span>${Me(a)?"You can send these when the upload above has ended.":"Continue or end the upload above first."}</span>`:o`<button type="button" class="primary" disabled=${k.length===0||l!==null} onClick=${lt}>Send ${x(k.length)}</button>`}</div>
      </div>`}
    ${c&&o`<${st} onClose=${()=>u(!1)} onAdd=${d=>{u(!1),P(d)}} />`}
    <${kt} />`}var yt=globalThis.document&&"webkitdirectory"in document.createElement("input")&&!matchMedia("(hover: none) and (pointer: coarse)").matches,wt=()=>o`<svg class="new-picture" viewBox="0 0 48 40" width="72" height="60" aria-hidden="true"><rect x="1.5" y="1.5" width="45" height="37" rx="4" /><circle cx="14" cy="13" r="4" /><path d="M3 33l12-12 8 8 9-11 13 15" /></svg>`;function kt(){let{over:e}=N.use();return e?o`<div class="new-over" aria-hidden="true"><span>Drop to add</span></div>`:null}function Ct(e){let[t,n]=m({upload:null,found:new Map,changed:[]}),i=!e||e.state==="done";$(()=>{let l=!1;return i&&De().then(a=>!l&&n({upload:a,found:new Map,changed:[]})),()=>{l=!0}},[i]);let r=g(t);return r.current=t,$(()=>qe(l=>{let{upload:a,found:c}=r.current;if(!a||a.complete)return l;let u={parts:a.parts.map(h=>h.jobId?h:{...h,items:h.items.filter(w=>!c.has(w))})},{used:s,rest:p,changed:f}=Le(u,l),y={upload:a,found:new Map([...c,...s]),changed:f};return r.current=y,n(y),s.size>0&&v(`${b(s.size,"file")} of the interrupted upload found`),p}),[]),{...t,onSend:()=>{n({upload:null,found:new Map,changed:[]}),Pe(t.upload,t.found)},onForget:()=>{Ie(t.upload.id),n({upload:null,found:new Map,changed:[]})}}}/*! Imagebatch, Apache-2.0. It includes:
htm 3.1.1, Copyright 2018 Google Inc., Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0
Preact 11.2.0, MIT License:
Copyright (c) 2015-present Jason Miller
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:
The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE. */var xt={new:Z,unknown:Ut},Tt=({name:e,params:t})=>`${e} ${t.id??""}`;function Et(){let e=Te(),{data:t,error:n,reload:i}=ke(le),r=ye(t?.keys);return o`
    <${It} route=${e} keys=${t?.keys} caller=${r} />
    <${Mt} />
    <${jt} />
    <${Ge} route=${e} />
    <main id="main" tabindex="-1">
      ${t?o`<${Rt} route=${e} limits=${t} caller=${r} />`:n?o`<${z} error=${n} title="The limits of the gateway could not be read" retry=${i} />`:o`<${F} />`}
    </main>
    <${he} />
    <${ve} />
    <${ge} />`}function St(e){e.preventDefault(),document.getElementById("main").focus()}function Rt({route:e,limits:t,caller:n}){let{screen:i,error:r,retry:l}=Qe(e.name,xt);return r?o`<${T}>Not loaded<//><${z} error=${r} retry=${l} />`:i?o`<${Lt} key=${Tt(e)} screen=${i} route=${e} limits=${t} caller=${n} />`:o`<${F} />`}var ee=!1;function Lt({screen:e,route:t,limits:n,caller:i}){let[r,l]=se(a=>console.error(a));return $(()=>{let a=document.getElementById("main");if(ee&&!a.contains(document.activeElement)&&!document.querySelector("dialog[open]")){scrollTo(0,0);let c=a.querySelector("[data-heading]")??a;c.focus({preventScroll:!0}),c===a&&v(document.title)}ee||Q(),ee=!0},[]),r?o`<${T}>Something went wrong<//><div class="note bad"><p><bdi>${String(r.message??r)}</bdi></p>
      <button type="button" onClick=${l}>Show it again</button></div>`:o`<${e} params=${t.params} query=${t.query} limits=${n} caller=${i} />`}function Ut(){return o`<${T}>Page not found<//><${be} title="There is nothing at this address.">
    <a href=${C("new")}>Send images</a> or see the <a href=${C("jobs")}>list of jobs</a>.<//>`}function It({route:e,keys:t,caller:n}){let i=ie(),r=de(t===!1||!!i),l=r?r.pending+r.processing:0,a=l?` (${["pending","processing"].some(u=>r.at_least?.includes(u))?pe({open:l,at_least:["open"]},"open"):l} open)`:"",c=(u,s,p)=>o`<a href=${C(u)} aria-current=${s.includes(e.name)?"page":void 0}>${p}</a>`;return o`<header class="bar">
    <a class="skip" href=${e.hash||"#/"} onClick=${St}>Skip to the content</a>
    <a class="brand" href=${C("new")}><img src="icon.svg" alt="" width="24" height="24" />Imagebatch</a>
    <nav aria-label="Main">
      ${c("new",["new","upload"],"New")}
      ${c("jobs",["jobs","job","viewer"],`Jobs${a}`)}
      ${n?.operator!==!1&&(n||t===!1)&&c("system",["system"],"System")}
    </nav>
    <div class="bar-end"><${At} />${(t||i)&&o`<${we} name=${n?.name} />`}</div>
  </header>`}var Dt={auto:"◐",light:"☀",dark:"☾"};function At(){let[e,t]=Se(),n=j[(j.indexOf(e)+1)%j.length];return o`<button type="button" class="plain" title="Change the theme" onClick=${()=>{t(n),v(`Theme: ${n}`)}}><span aria-hidden="true">${Dt[e]}</span> <span><span class="visually-hidden">Theme: </span>${e}</span></button>`}function Mt(){let[e,t]=m(ce()),n=g(e);return $(()=>ue(t),[]),S(()=>{n.current!==e&&v(e?"Connected to the gateway again":"No connection to the gateway"),n.current=e},[e]),e?null:o`<div class="banner" role="region" aria-label="Connection">No connection to the gateway. The page tries again by itself; what you see may be old.</div>`}function jt(){let e=xe();return $(()=>{e&&v("Imagebatch was updated. Reload the page.")},[e]),e?o`<div class="banner row" role="region" aria-label="Update">Imagebatch was updated. <button type="button" onClick=${()=>location.reload()}>Reload the page</button></div>`:null}Ee();Ye(A().name);re(o`<${Et} />`,document.getElementById("app"));
