import{a as $e,b as pe,c as he,d as O,e as J,f as fe,g as z,h as U,i as ue,j,k as ge}from"./chunk-3QC2SC47.js";import{c as D,d as re,g as le,i as ce,j as de,k as G,l as me}from"./chunk-3W6L35LX.js";import"./chunk-IXNNZO6P.js";import"./chunk-PG6J55LN.js";import{$ as F,I as p,J as K,L as Q,Q as N,R as q,T as _,U as E,X as V,Y as T,_ as ee,aa as W,ca as te,ea as oe,fa as M,h as C,ha as Z,i as H,ia as v,ja as ae,k as X,ka as ne,o as R,oa as se,p as t,pa as ie,s as Y,ta as S,z as P}from"./chunk-FTIS2BHV.js";var be=[["file","Images","The processed files, with their metadata in them"],["metadata","Records","What was measured and written, as JSON"],["xmp","XMP sidecars","For programs that read metadata from a file beside the image"],["thumbnail","Thumbnails","Small JPEGs, at most 320 pixels"]],I=({type:e="checkbox",name:n,checked:s,onChange:a,children:o,hint:r})=>t`<label class="check">
  <input type=${e} name=${n} checked=${s} onChange=${a} /> <span>${o}</span>${r&&t`<small>${r}</small>`}</label>`;function we({job:e,recordOf:n,onClose:s}){let[a,o]=C(new Set(["file","metadata"])),[r,$]=C(!0),[c]=[R()],{busy:d,error:g,run:h}=O(),b=e.images.some(i=>i.custom_id),m=a.has("file")?e.images.reduce((i,f)=>i+(n(e.job_id,f.index)?.bytes??0),0):0,k=i=>o(f=>{let l=new Set(f);return l.delete(i)||l.add(i),l}),x=()=>h("The download could not start",async()=>{let i=be.map(([f])=>f).filter(f=>a.has(f)).join(",");await P(e.job_id,{what:"zip",include:i,paths:b&&r?"custom_id":void 0}),T("The download has started"),s()});return t`<${F} title="Download as ZIP" onClose=${s} footer=${t`
      <button type="button" onClick=${s}>Cancel</button>
      <button type="button" class="primary" disabled=${d||a.size===0} onClick=${x}>${d?"Starting…":m>0?`Download, about ${K(m)}`:"Download"}</button>`}>
    <fieldset><legend>Contents</legend>
      ${be.map(([i,f,l])=>t`<${I} key=${i} checked=${a.has(i)} onChange=${()=>k(i)} hint=${l}>${f}<//>`)}
      ${a.size===0&&t`<p class="field-error">Choose at least one.</p>`}
    </fieldset>
    ${b&&t`<fieldset><legend>Names</legend>
      <${I} type="radio" name=${c} checked=${r} onChange=${()=>$(!0)} hint="By the ID that each image was sent with">As they were sent, with folders<//>
      <${I} type="radio" name=${c} checked=${!r} onChange=${()=>$(!1)} hint="Names that occur twice get a number">All in one folder<//>
    </fieldset>`}
    ${e.failed>0&&t`<p class="faint">${p(e.failed,"image has","images have")} no files. The list manifest.jsonl in the archive has the reasons.</p>`}
    <${v} error=${g} title="The download could not start" retry=${x} />
  <//>`}function ye({job:e,chosen:n,captions:s,onClose:a}){let{failed:o}=e,r=[n.length>0&&["chosen",`The ${p(n.length,"selected image")}`,n],["all",U(e.total_images,e.total_images).replace(/^./,l=>l.toUpperCase()),e.images.map(l=>l.index)],o>0&&o<e.total_images&&["failed",`The ${p(o,`${z(e)} image`)}`,e.images.filter(l=>l.status==="failed").map(l=>l.index)]].filter(Boolean),[$,c]=C(r[0][0]),[d,g]=C("same"),h=[R(),R()],{busy:b,error:m,run:k,again:x}=O(),[,,i]=r.find(([l])=>l===$);return t`<${F} title="Process again" onClose=${a} footer=${t`
      <button type="button" onClick=${a}>Cancel</button>
      <button type="button" class="primary" disabled=${b} onClick=${()=>k("",J(e.job_id,"reprocess",{...i.length<e.total_images&&{images:i},...d!=="same"&&{captions:d==="yes"}},{text:`It processes ${U(i.length,e.total_images)} of an earlier job again.`,wanted:i.length}))}>${b?"Starting…":`Process ${p(i.length,"image")}`}</button>`}>
    <p>A new job processes the originals again. This job and its files stay as they are.</p>
    ${r.length>1&&t`<fieldset><legend>Images</legend>
      ${r.map(([l,u])=>t`<${I} key=${l} type="radio" name=${h[0]} checked=${$===l} onChange=${()=>c(l)}>${u}<//>`)}
    </fieldset>`}
    ${s&&t`<fieldset><legend>Captions</legend>
      <${I} type="radio" name=${h[1]} checked=${d==="same"} onChange=${()=>g("same")}>As before<//>
      <${I} type="radio" name=${h[1]} checked=${d==="yes"} onChange=${()=>g("yes")} hint=${t`A small copy of each image goes to <bdi>${s.host}</bdi>.`}>By the model <bdi>${s.model}</bdi><//>
      <${I} type="radio" name=${h[1]} checked=${d==="no"} onChange=${()=>g("no")} hint="No image of the new job leaves for a model.">Without a model<//>
    </fieldset>`}
    <${v} error=${m} title="The new job could not be made" retry=${x} />
  <//>`}function ke({job:e,limits:n,caller:s,recordOf:a,chosen:o,dialog:r,onDialog:$}){let{busy:c,error:d,title:g,run:h,again:b}=O(),m=e.job_id,k=(...w)=>A=>{A.currentTarget.blur?.(),h(...w)},x=async()=>{let w=e.completed>0?`${p(E(e),"image that is","images that are")} not done will not be processed. The ${p(e.completed,"finished image")} and their files stay.`:"No image is done yet, so none will be processed. You can retry them later.";await W({title:"Cancel this job?",text:w,action:"Cancel the job",dismiss:"Let it run"})&&h("The job could not be cancelled",()=>fe(m))};if(!_(e))return t`<div class="row actions"><button type="button" disabled=${c} onClick=${x}>Cancel the job…</button>
      <span class="faint">Downloads and retries are here when the job has ended.</span></div>
      <${v} error=${d} title=${g} retry=${b} />`;let i=n.captions&&s?.captions!==!1?n.captions:null,f=e.failed,l=e.images.some(le),u=e.images.filter(D.uncaptioned.passes).map(w=>w.index),y=e.images.filter(w=>a(m,w.index)?.captioned),L=async()=>{let w=t`A new job processes ${p(u.length,"image")} again. A small copy of each goes to the model <bdi>${i.model}</bdi> at <bdi>${i.host}</bdi>. This job stays as it is.`;await W({title:"Ask the model again?",text:w,action:`Caption ${p(u.length,"image")}`,danger:!1})&&h("The new job could not be made",J(m,"reprocess",{images:u,captions:!0},{text:`It captions ${p(u.length,"image")} of an earlier job.`,wanted:u.length}))},ve=async()=>{let w=`A model wrote texts of ${p(y.length,"image")}. A new job makes all ${p(e.completed,"file")} again without them; texts of the files themselves stay. This job and its files stay as they are: download the new ones.`;if(!await W({title:"Remove the model's words?",text:w,action:"Make files without them",danger:!1}))return;let A=e.images.filter(B=>B.status==="completed").map(B=>B.index);h("The new job could not be made",J(m,"reprocess",{remove_captions:!0,...A.length<e.total_images&&{images:A}},{text:`It makes ${p(A.length,"file")} of an earlier job again, without a model's words.`,wanted:A.length}))},xe=async()=>{await P(m,{what:"jsonl"}),T("The download has started")};return t`<div class="row actions">
      ${e.completed>0&&t`<button type="button" class="primary" onClick=${()=>$("zip")}>ZIP…</button>`}
      <button type="button" disabled=${c} title="One line of JSON for each image" onClick=${k("The download could not start",xe)}>JSONL</button>
      ${l&&t`<button type="button" disabled=${c} onClick=${k("The new job could not be made",J(m,"retry",void 0,{text:`It retries ${p(f,"image")} of an earlier job.`,wanted:f}))}>Retry ${f} ${z(e)}</button>`}
      <button type="button" onClick=${()=>$("reprocess")}>Reprocess…</button>
      ${i&&u.length>0&&t`<button type="button" disabled=${c} onClick=${L}>Caption the ${u.length} missing…</button>`}
      ${y.length>0&&t`<button type="button" disabled=${c} onClick=${ve}>Remove model's words…</button>`}
    </div>
    ${f>0&&!l&&t`<p class="faint">A retry would fail again: the files themselves have to change.</p>`}
    ${u.length>0&&!i&&t`<p class="faint">${n.captions?"This API key keeps its images from every model":"Captions are off at this gateway"}, so the ${p(u.length,"missing caption")} cannot be made now.</p>`}
    <${v} error=${d} title=${g} retry=${b} />
    ${r==="zip"&&t`<${we} job=${e} recordOf=${a} onClose=${()=>$("")} />`}
    ${r==="reprocess"&&t`<${ye} job=${e} chosen=${o} captions=${i} onClose=${()=>$("")} />`}`}function _e({params:{id:e},query:n,limits:s,caller:a}){let{job:o,connection:r,error:$,gone:c}=$e(e),d=o&&q(o),g=!o||c?"":_(o)?`${Ce(d.word)} · `:`${o.completed+o.failed}/${o.total_images} · `;Oe(c?null:o);let h=t`<${ee} class="job-heading" title=${`${g}Job ${N(e)}`}>Job <span class="mono">${N(e)}</span>
    <${te} text=${e} label="Copy the job's ID" />${o&&!c&&t` <${M} state=${{...d,word:Ce(d.word)}} />`}<//>`;return c?t`${h}<${Z} title=${o?"This job was deleted.":"There is no such job."}>
      ${o?"Jobs are deleted some time after their end, with their files.":"It was deleted, it belongs to another API key, or the address is not complete."} See the <a href=${S("jobs")}>list of jobs</a> or <a href=${S("new")}>send images</a>.<//>`:o?t`${h}
    <${Te} job=${o} connection=${r} error=${$} />
    <${oe} job=${o} />
    <${Je} job=${o} />
    <${Ne} job=${o} query=${n} limits=${s} caller=${a} />`:t`${h}<${v} error=${$} title="The job could not be read" />${!$&&t`<${ae} />`}`}var Ce=e=>e.replace(/^./,n=>n.toUpperCase()),Se={live:"Live",events:"Live, by events",polling:"Updated every 3 s",offline:"No connection: the last known state"};function Te({job:e,connection:n,error:s}){let{label:a,upload:o,...r}=e.metadata??{},$=e.completed_at&&new Date(e.completed_at)-new Date(e.created_at);return t`<${v} error=${s?.status===401?s:null} />
    <p class="job-facts">${a&&t`<span><bdi class="job-label">${a}</bdi></span>`}<span><${ne} value=${e.created_at} /></span>
      ${_(e)?$>=1e3&&t`<span>took ${Q($)}</span>`:t`<span class="job-connection">${Se[n]}</span>`}
      ${o&&t`<span><a href=${S("upload",{id:o})}>part of an upload</a></span>`}
      ${e.retry_of&&t`<span>made from job <a class="mono" href=${S("job",{id:e.retry_of})}>${N(e.retry_of)}</a></span>`}
      ${Object.entries(r).map(([c,d])=>t`<span key=${c}><bdi>${c}</bdi>: <bdi>${d}</bdi></span>`)}</p>
    ${_(e)&&t`<${Ae} id=${e.job_id} />`}`}var Ie=10;function Ae({id:e}){let{data:n,reload:s}=se(async o=>(await Y("GET","api/v1/batch",{query:{retry_of:e,view:"summary",limit:Ie},signal:o,background:!0})).data,[e]),a=n?.jobs??[];return ie(()=>a.some(o=>!_(o))&&s(),5e3),a.length===0?null:t`<p class="job-facts">${a.map((o,r)=>t`<span key=${o.job_id}>${r===0&&"processed again as "}<a class="mono" href=${S("job",{id:o.job_id})}>${N(o.job_id)}</a> <${M} job=${o} /></span>`)}
    ${n.next_page_token&&t`<span>and more</span>`}</p>`}function Je({job:e}){let[,n]=C(0),s=pe(e.job_id);if(!s)return null;let a=s.wanted-e.total_images,o=()=>{he(e.job_id),n(r=>r+1)};return t`<div class=${`note ${a>0?"warn":"good"}`}><p><span class="note-title">This is a new job.</span> ${s.text}
    ${a>0&&` ${p(a,"image was","images were")} left out, because the gateway has no file of ${a===1?"it":"them"}: send ${a===1?"it":"them"} again.`}</p>
    <button type="button" class="plain icon" aria-label="Close" onClick=${o}><${V} name="close" /></button></div>`}function Ne({job:e,query:n,limits:s,caller:a}){let o=e.job_id,r=ue(e),$=ce([e]),[c,d]=C(new Set),[g,h]=C(""),b=n.get("show")??"all",m=b in D||b==="similar"?b:"all",k=_(e)&&e.total_images>1,x=m==="similar"?j(e,r.groups):G([e],m),i=e.images.filter(y=>c.has(de(o,y.index))).map(y=>y.index),f={selected:c,onSelect:k?d:void 0,query:m==="all"?{}:{show:m}},l=y=>d(new Set(y.map(L=>L.key))),u=G([e],"failed");return t`<${ke} job=${e} limits=${s} caller=${a} recordOf=${$} chosen=${i} dialog=${g} onDialog=${h} />
    ${e.total_images>1&&t`<div class="row job-bar">
      <${re} jobs=${[e]} show=${m} href=${y=>S("job",{id:o},{show:y})} more=${[{name:"similar",word:"Similar",count:j(e,r.groups).length}]} />
      ${k&&i.length===0&&t`<span class="row job-select"><button type="button" class="plain" onClick=${()=>l(x)}>Select all</button>
        ${u.length>0&&t`<button type="button" class="plain" onClick=${()=>l(u)}>Select failed</button>`}</span>`}
    </div>`}
    ${m==="similar"?t`<${ge} job=${e} similar=${r} ...${f} />`:t`<${me} jobs=${[e]} filter=${m} ...${f}><${Z} title=${`No image here: none is in “${D[m].word}”.`}><a href=${S("job",{id:o})}>Show all images</a><//><//>`}
    ${i.length>0&&t`<div class="selection" role="region" aria-label="Selection"><span>${p(i.length,"image")} selected</span>
      <button type="button" class="primary" onClick=${()=>h("reprocess")}>Reprocess…</button>
      ${u.length>0&&t`<button type="button" onClick=${()=>l(u)}>Select failed</button>`}
      <button type="button" onClick=${()=>d(new Set)}>Clear</button></div>`}`}var De=5e3;function Oe(e){let n=X({id:"",ended:!0,time:0,failed:0});H(()=>{if(!e)return;let s=n.current,a={id:e.job_id,ended:_(e),time:Date.now(),failed:e.failed};s.id!==a.id?n.current=a:a.ended?(s.ended||T(`Job ${q(e).word}`),n.current=a):(a.time-s.time>=De||a.failed>s.failed)&&(T(`${e.completed} of ${e.total_images} done${e.failed?`, ${e.failed} failed`:""}, ${E(e)} open`),n.current=a)},[e])}export{_e as default};
