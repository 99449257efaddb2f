import{A as Q,B as Ve,a as De,b as je,c as Be,e as Ae,f as Oe,g as Pe,h as Ne,i as qe,j as ze,k as q,l as _e,m as Fe,n as G,o as He,p as U,q as Je,r as I,s as z,t as W,u as S,v as Ke,w as Ge,x as We,y as Qe,z as Ye}from"./chunk-U6CDL6SB.js";import"./chunk-IXNNZO6P.js";import{$ as ye,A as fe,Aa as Ie,Ba as Me,C as me,D as he,F as $e,G as ge,H as C,I as b,J as R,N as be,W as we,Y as w,Z as ve,_ as E,a as ie,b as le,ba as ke,g as ce,h as p,ha as xe,i as h,ia as J,j as L,ja as K,k as g,la as Ce,m as ue,ma as Ee,n as de,na as Se,o as A,oa as Te,p as o,qa as Le,ra as Re,ta as x,ua as O,va as P,wa as Ue,y as pe,za as N}from"./chunk-FTIS2BHV.js";var V={upload:()=>import("./upload-XWQFPJLP.js"),jobs:()=>import("./jobs-RFSXOYKV.js"),job:()=>import("./job-M2XUBV2P.js"),viewer:()=>import("./viewer-L63CHV6T.js"),system:()=>import("./system-YOCS5GDJ.js")},Xe={},Y=null;function gt(){return Y??=new Promise((e,t)=>{let n=Object.assign(document.createElement("link"),{rel:"stylesheet",href:"later.css",onload:e});n.onerror=()=>{Y=null,n.remove(),t(new Error("later.css could not be loaded"))},document.head.append(n)}),Y}async function X(e){let[t]=await Promise.all([V[e](),gt()]);Xe[e]=t.default}var Ze=e=>e in V&&X(e).catch(()=>{});function et(e,t){let n=t[e]??Xe[e]??null,[a,r]=p(null),[i,s]=p(0);h(()=>{if(n)return;let u=!0,l=f=>u&&r({name:e,error:f});return X(e).then(()=>l(null),async()=>{await Le(),l({text:"A part of this page could not be loaded",advice:"Check the network connection. If it happens again, reload the page."})}),()=>{u=!1}},[e,i]);let c=!n&&a?.name===e?a.error:null;return{screen:n,error:c,retry:()=>{r(null),s(u=>u+1)}}}function Z(e=Object.keys(V)){if(e.length===0||navigator.connection?.saveData)return;(globalThis.requestIdleCallback??(n=>setTimeout(n,500)))(()=>X(e[0]).then(()=>Z(e.slice(1)),()=>{}),{timeout:5e3})}var _=je({over:!1}),bt=700,tt=0;function H(e){clearTimeout(tt),e&&(tt=setTimeout(H,bt,!1)),_.get().over!==e&&_.set({over:e})}var ee=e=>e instanceof Element&&e.closest('textarea, input:not([type="checkbox"], [type="file"])'),rt=e=>Array.from(e?.types??[]).includes("text/uri-list"),F=!1;function nt(e){F||!G(e.dataTransfer)&&(!rt(e.dataTransfer)||ee(e.target))||(e.preventDefault(),e.dataTransfer.dropEffect="copy",H(!0))}function wt(e){if(H(!1),F)return;let{dataTransfer:t}=e,n=G(t);!n&&(!rt(t)||ee(e.target))||(e.preventDefault(),n?I(He(t,a=>U.set({reading:a}))):at(t.getData("text/uri-list")),O().name!=="new"&&P(x("new")))}function at(e){let{urls:t,problems:n}=q(e);return t.length===0||n.length>0?!1:(z(t),!0)}function ot(e){let{clipboardData:t}=e;!t||ee(e.target)||document.querySelector("dialog[open]")||(t.files.length>0?(e.preventDefault(),I(Fe(t))):at(t.getData("text/plain"))||U.set({note:"The clipboard has neither an image nor a list of URLs."}))}function st(){h(()=>(document.addEventListener("paste",ot),()=>document.removeEventListener("paste",ot)),[])}globalThis.document&&(addEventListener("dragstart",()=>{F=!0}),addEventListener("dragend",()=>{F=!1}),addEventListener("dragenter",nt),addEventListener("dragover",nt),addEventListener("dragleave",e=>!e.relatedTarget&&H(!1)),addEventListener("drop",wt));var vt=320,yt=200,kt=2,T=new Map,ne=new WeakSet,M=[],te=0;async function xt(e){let t=await createImageBitmap(e),n=Math.min(1,vt/Math.max(t.width,t.height)),a=document.createElement("canvas");a.width=Math.max(1,Math.round(t.width*n)),a.height=Math.max(1,Math.round(t.height*n));let r=a.getContext("2d");return r.imageSmoothingQuality="medium",r.drawImage(t,0,0,a.width,a.height),t.close(),new Promise((i,s)=>{a.toBlob(c=>c?i(URL.createObjectURL(c)):s(new Error("not drawn")),"image/webp",.8)})}async function it(){if(te>=kt||M.length===0)return;let e=M.shift(),{file:t}=e;te++;try{let n=T.get(t)??await xt(t);if(T.delete(t),T.set(t,n),e.done(n),T.size>yt){let[a,r]=T.entries().next().value;T.delete(a),URL.revokeObjectURL(r)}}catch{ne.add(t),e.done(null)}te--,it()}function lt(e){let[t,n]=p({file:null,src:""});return h(()=>{if(!e||ne.has(e))return;let a={file:e,done:r=>n({file:e,src:r})};return M.push(a),it(),()=>{let r=M.indexOf(a);r>=0&&M.splice(r,1),a.done=()=>{}}},[e]),e?ne.has(e)?null:t.file===e?t.src:"":""}var ct=24,Ct=3.5,ut=new WeakMap,oe=null;function Et(e,t){return oe??=new IntersectionObserver(n=>{for(let{target:a,isIntersecting:r}of n)ut.get(a)?.(r)},{rootMargin:"1000px"}),ut.set(e,t),oe.observe(e),()=>oe.unobserve(e)}function St({items:e,start:t,total:n,onRemove:a}){let r=g(null),[i,s]=p(t===0);return h(()=>Et(r.current,c=>s(c||r.current.contains(document.activeElement))),[]),o`<div ref=${r} class="new-block" role="presentation" style=${{height:`${e.length*Ct}rem`}}>
    ${i&&e.map((c,u)=>o`<${Lt} key=${c.id} item=${c} position=${t+u+1} total=${n} onRemove=${a} />`)}
  </div>`}function Tt({item:e}){let t=lt(e.file);return e.url?o`<span class="new-thumb" aria-hidden="true">URL</span>`:o`<span class="new-thumb">${t&&o`<img src=${t} alt="" />`}</span>`}function Lt({item:e,position:t,total:n,onRemove:a}){let r=e.url?new URL(e.url).host:e.path.slice(0,Math.max(0,e.path.length-e.name.length-1));return o`<div class="new-row" role="listitem" aria-posinset=${t} aria-setsize=${n}>
    <label><input type="checkbox" checked=${e.ticked} onChange=${i=>W(e.id,i.currentTarget.checked)} />
      <${Tt} item=${e} />
      <span class="new-text"><bdi class="new-name" title=${e.path}>${e.name}</bdi>
        <span class="new-facts">${e.sentAt>0&&o`<span class="badge tone-warn"><span aria-hidden="true">⚠</span> already sent ${be(e.sentAt)}</span> `}
          ${!e.url&&R(e.size)}${r&&o`${!e.url&&" · "}<bdi>${r}</bdi>`}</span></span></label>
    <button type="button" class="plain icon" data-remove=${e.id} aria-label=${`Remove ${e.name}`} onClick=${()=>a(e.id)}><${Rt} /></button>
  </div>`}var Rt=()=>o`<svg class="drawing" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d="M4 4l8 8M12 4l-8 8" /></svg>`;function dt({items:e}){let t=g(null),n=g(null),[a,r]=p(0),i=e.filter(l=>l.ticked).length,s=e.filter(l=>l.sentAt>0);L(()=>{t.current.indeterminate=i>0&&i<e.length}),L(()=>{a&&((n.current.querySelector(`[data-remove="${a}"]`)??t.current).focus(),r(0))},[a]);let c=l=>{let f=e.findIndex(v=>v.id===l),m=e[f+1]??e[f-1];S([l]),m&&r(m.id),w("Removed")},u=[];for(let l=0;l<e.length;l+=ct)u.push(l);return o`<div class="new-list">
    <div class="new-all">
      <label><input ref=${t} type="checkbox" checked=${i===e.length} onChange=${l=>W(null,l.currentTarget.checked)} />
        <span>${i===e.length?"All":`${C(i)} of ${C(e.length)}`} selected</span></label>
      ${s.length>0&&s.length<e.length&&o`<button type="button" class="plain" onClick=${()=>S(s.map(l=>l.id))}>Remove ${b(s.length,"sent one")}</button>`}
      <button type="button" class="plain" onClick=${()=>S()}>Remove all</button>
    </div>
    <div ref=${n} role="list" aria-label="Chosen images">
      ${u.map(l=>o`<${St} key=${l} items=${e.slice(l,l+ct)} start=${l} total=${e.length} onRemove=${c} />`)}
    </div>
  </div>`}function pt({onAdd:e,onClose:t}){let[n,a]=p(""),[r,i]=p(!1),s=g(null),[c,u,l]=[A(),A(),A()],{urls:f,problems:m}=q(n);return o`<${ye} title="Add URLs" wide onClose=${t}>
    <form onSubmit=${$=>{$.preventDefault(),i(!0),m.length===0&&f.length>0?e(f):s.current.focus()}}>
      <label for=${c}>One URL in each line</label>
      <textarea id=${c} ref=${s} class="mono new-urls" rows="8" spellcheck=${!1} autofocus value=${n} aria-invalid=${r&&m.length>0}
        aria-describedby=${`${u} ${l}`} onInput=${$=>a($.currentTarget.value)}></textarea>
      <p id=${u} class="faint">The gateway downloads them. It must be able to reach them without a login.</p>
      <div id=${l} class="field-error">
        ${r&&f.length+m.length===0&&"Enter at least one URL."}
        ${r&&m.length>0&&o`<ul>${m.slice(0,5).map(({line:$,text:y,reason:D})=>o`<li key=${$}>Line ${$} ${D}: <bdi class="mono">${y}</bdi></li>`)}
          ${m.length>5&&o`<li>${b(m.length-5,"more line has a problem","more lines have a problem")}</li>`}</ul>`}
      </div>
      <div class="dialog-foot"><button type="button" onClick=${t}>Cancel</button>
        <button type="submit" class="primary">${f.length>0?`Add ${b(f.length,"URL")}`:"Add"}</button></div>
    </form>
  <//>`}function re({limits:e,caller:t}){let{items:n,refused:a,note:r,reading:i}=U.use(),{upload:s}=Oe.use(),[c,u]=p(!1),[l,f]=p(ie("captions",!0)),m=Dt(s),v=g(null),$=g(null);st(),h(()=>Ne(d=>{d.jobs.length!==0&&(d.seen=!0,P(Qe(d)))}),[]);let y=ue(d=>(d==="folder"?$:v).current.click(),[]),D=d=>{I(_e(d.currentTarget)),d.currentTarget.value=""},k=n.filter(d=>d.ticked),se=k.reduce((d,$t)=>d+$t.size,0),j=s&&s.state!=="done",B=j||n.length>0||m.upload,ft=t?.captions!==!1,mt=()=>{qe(k,{captions:e.captions&&!l?!1:void 0,maxImages:e.max_images}),S(k.map(d=>d.id))},ht=d=>{f(d),le("captions",d?null:!1)};return o`<${E} title=${Ye(s)||"Send images"}>Send images<//>
    ${j?o`<${Q} upload=${s} />`:m.upload&&o`<${We} ...${m} onChoose=${y} />`}
    ${!j&&s&&!s.seen&&o`<${Q} upload=${s} />`}
    <section class=${we("new-drop",B&&"small")} aria-label="Choose images">
      ${!B&&o`<${It} />`}
      <p class="new-hint">Drop images or folders anywhere on this page, or paste them.</p>
      <div class="row">
        <button type="button" class=${B?"":"primary"} onClick=${()=>y("files")}>Choose files</button>
        ${Ut&&o`<button type="button" onClick=${()=>y("folder")}>Choose folder</button>`}
        <button type="button" onClick=${()=>u(!0)}>Add URLs</button>
      </div>
      ${!B&&o`<p class="faint">JPEG and PNG, up to ${R(e.max_image_bytes)} each. Any number: they are sent in batches of up to ${b(e.max_images,"image")}.</p>`}
      <input ref=${v} type="file" hidden multiple accept="image/jpeg,image/png" onChange=${D} />
      <input ref=${$} type="file" hidden multiple webkitdirectory onChange=${D} />
    </section>
    ${i!==null&&o`<p class="new-reading">Reading files${i>0&&`: ${C(i)} so far`}…</p>`}
    ${r&&o`<p class="note new-note">${r}</p>`}
    <${Ke} refused=${a} limit=${e.max_image_bytes} />
    ${n.length>0&&o`<${dt} items=${n} />
      <div class="new-send">
        <${Ge} captions=${e.captions} allowed=${ft} images=${k.length} value=${l} onChange=${ht} />
        <div class="row"><span class="new-count">${b(k.length,"image")}${se>0&&` · ${R(se)}`}</span>
          ${j?o`<span>${Pe(s)?"You can send these when the upload above has ended.":"Continue or end the upload above first."}</span>`:o`<button type="button" class="primary" disabled=${k.length===0||i!==null} onClick=${mt}>Send ${C(k.length)}</button>`}</div>
      </div>`}
    ${c&&o`<${pt} onClose=${()=>u(!1)} onAdd=${d=>{u(!1),z(d)}} />`}
    <${Mt} />`}globalThis.document?.addEventListener("click",({target:e})=>setTimeout(()=>{!e.isConnected&&document.activeElement===document.body&&document.querySelector("h1")?.focus({preventScroll:!0})}));var Ut=globalThis.document&&"webkitdirectory"in document.createElement("input")&&!matchMedia("(hover: none) and (pointer: coarse)").matches,It=()=>o`<svg class="new-picture" viewBox="0 0 48 40" width="72" height="60" aria-hidden="true"><rect x="1.5" y="1.5" width="45" height="37" rx="4" /><circle cx="14" cy="13" r="4" /><path d="M3 33l12-12 8 8 9-11 13 15" /></svg>`;function Mt(){let{over:e}=_.use();return e?o`<div class="new-over" aria-hidden="true"><span>Drop to add</span></div>`:null}function Dt(e){let[t,n]=p({upload:null,found:new Map,changed:[]}),a=!e||e.state==="done";h(()=>{let i=!1;return a&&Ae().then(s=>!i&&n({upload:s,found:new Map,changed:[]})),()=>{i=!0}},[a]);let r=g(t);return r.current=t,h(()=>Je(i=>{let{upload:s,found:c}=r.current;if(!s||s.complete)return i;let u={parts:s.parts.map($=>$.jobId?$:{...$,items:$.items.filter(y=>!c.has(y))})},{used:l,rest:f,changed:m}=De(u,i),v={upload:s,found:new Map([...c,...l]),changed:m};return r.current=v,n(v),l.size>0&&w(`${b(l.size,"file")} of the interrupted upload found`),f}),[]),{...t,onSend:()=>{n({upload:null,found:new Map,changed:[]}),ze(t.upload,t.found)},onForget:()=>{Be(t.upload.id),n({upload:null,found:new Map,changed:[]})}}}/*! Imagebatch, Apache-2.0. It includes:
htm 3.1.1, Copyright 2018 Google Inc., Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0
Preact 11.2.0, MIT License:
Copyright (c) 2015-present Jason Miller
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:
The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE. */var jt={new:re,unknown:qt},Bt=({name:e,params:t})=>`${e} ${t.id??""}`;function At(){let e=Ue(),{data:t,error:n,reload:a}=Te(fe),r=Ee(t?.keys);return o`
    <${zt} route=${e} keys=${t?.keys} caller=${r} />
    <${Ht} />
    <${Jt} />
    <${Ve} route=${e} />
    <main id="main" tabindex="-1">
      ${t?o`<${Pt} route=${e} limits=${t} caller=${r} />`:n?o`<${J} error=${n} title="The limits of the gateway could not be read" retry=${a} />`:o`<${K} />`}
    </main>
    <${ve} />
    <${Ce} />
    <${ke} />`}function Ot(e){e.preventDefault(),document.getElementById("main").focus()}function Pt({route:e,limits:t,caller:n}){let{screen:a,error:r,retry:i}=et(e.name,jt);return r?o`<${E}>Not loaded<//><${J} error=${r} retry=${i} />`:a?o`<${Nt} key=${Bt(e)} screen=${a} route=${e} limits=${t} caller=${n} />`:o`<${K} />`}var ae=!1;function Nt({screen:e,route:t,limits:n,caller:a}){let[r,i]=de(s=>console.error(s));return h(()=>{let s=document.getElementById("main");if(ae&&!s.contains(document.activeElement)&&!document.querySelector("dialog[open]")){scrollTo(0,0);let c=s.querySelector("[data-heading]")??s;c.focus({preventScroll:!0}),c===s&&w(document.title)}ae||Z(),ae=!0},[]),r?o`<${E}>Something went wrong<//><div class="note bad"><p><bdi>${String(r.message??r)}</bdi></p>
      <button type="button" onClick=${i}>Show it again</button></div>`:o`<${e} params=${t.params} query=${t.query} limits=${n} caller=${a} />`}function qt(){return o`<${E}>Page not found<//><${xe} title="There is nothing at this address.">
    <a href=${x("new")}>Send images</a> or see the <a href=${x("jobs")}>list of jobs</a>.<//>`}function zt({route:e,keys:t,caller:n}){let a=pe(),r=$e(t===!1||!!a),i=r?r.pending+r.processing:0,s=i?` (${["pending","processing"].some(u=>r.at_least?.includes(u))?ge({open:i,at_least:["open"]},"open"):i} open)`:"",c=(u,l,f)=>o`<a href=${x(u)} aria-current=${l.includes(e.name)?"page":void 0}>${f}</a>`;return o`<header class="bar">
    <a class="skip" href=${e.hash||"#/"} onClick=${Ot}>Skip to the content</a>
    <a class="brand" href=${x("new")}><img src="icon.svg" alt="" width="24" height="24" />Imagebatch</a>
    <nav aria-label="Main">
      ${c("new",["new","upload"],"New")}
      ${c("jobs",["jobs","job","viewer"],`Jobs${s}`)}
      ${n?.operator!==!1&&(n||t===!1)&&c("system",["system"],"System")}
    </nav>
    <div class="bar-end"><${Ft} />${(t||a)&&o`<${Se} name=${n?.name} />`}</div>
  </header>`}var _t={auto:"◐",light:"☀",dark:"☾"};function Ft(){let[e,t]=Me(),n=N[(N.indexOf(e)+1)%N.length];return o`<button type="button" class="plain" title="Change the theme" onClick=${()=>{t(n),w(`Theme: ${n}`)}}><span aria-hidden="true">${_t[e]}</span> <span><span class="visually-hidden">Theme: </span>${e}</span></button>`}function Ht(){let[e,t]=p(me()),n=g(e);return h(()=>he(t),[]),L(()=>{n.current!==e&&w(e?"Connected to the gateway again":"No connection to the gateway"),n.current=e},[e]),e?null:o`<div class="banner" role="region" aria-label="Connection">No connection to the gateway. The page tries again by itself; what you see may be old.</div>`}function Jt(){let e=Re();return h(()=>{e&&w("Imagebatch was updated. Reload the page.")},[e]),e?o`<div class="banner row" role="region" aria-label="Update">Imagebatch was updated. <button type="button" onClick=${()=>location.reload()}>Reload the page</button></div>`:null}Ie();Ze(O().name);ce(o`<${At} />`,document.getElementById("app"));
