import{a as D,b as G,c as le,d as ce,e as de,f as O,g as J,h as me,i as U,k as $e,o as pe,p as he,q as L,r as fe,s as ue,t as ge,u as be}from"./chunk-BBOZXLRY.js";import{$ as se,A as K,B as Q,C as N,D as q,F as _,G as z,H as F,J as V,K as T,M as ee,N as M,O as B,Q as te,R as oe,S as Z,U as j,V as v,W as ae,X as ne,aa as ie,d as C,e as H,ea as S,g as X,j as R,ja as re,k as t,n as Y,r as E,z as h}from"./chunk-UWH2LT27.js";var we=[["file","Images","The processed files, with their metadata in them"],["metadata","Records","What was measured and written, as JSON"],["xmp","XMP sidecars","For programs that read metadata from a file beside the image"],["thumbnail","Thumbnails","Small JPEGs, at most 320 pixels"]],I=({type:e="checkbox",name:n,checked:s,onChange:a,children:o,hint:l})=>t`<label class="check">
  <input type=${e} name=${n} checked=${s} onChange=${a} /> <span>${o}</span>${l&&t`<small>${l}</small>`}</label>`;function ye({job:e,recordOf:n,onClose:s}){let[a,o]=C(new Set(["file","metadata"])),[l,$]=C(!0),[c]=[R()],{busy:d,error:g,run:f}=O(),b=e.images.some(i=>i.custom_id),m=a.has("file")?e.images.reduce((i,p)=>i+(n(e.job_id,p.index)?.bytes??0),0):0,y=i=>o(p=>{let r=new Set(p);return r.delete(i)||r.add(i),r}),x=()=>f("The download could not start",async()=>{let i=we.map(([p])=>p).filter(p=>a.has(p)).join(",");await E(e.job_id,{what:"zip",include:i,paths:b&&l?"custom_id":void 0}),T("The download has started"),s()});return t`<${M} title="Download as ZIP" onClose=${s} footer=${t`
      <button type="button" onClick=${s}>Cancel</button>
      <button type="button" class="primary" disabled=${d||a.size===0} onClick=${x}>${d?"Starting…":m>0?`Download, about ${K(m)}`:"Download"}</button>`}>
    <fieldset><legend>Contents</legend>
      ${we.map(([i,p,r])=>t`<${I} key=${i} checked=${a.has(i)} onChange=${()=>y(i)} hint=${r}>${p}<//>`)}
      ${a.size===0&&t`<p class="field-error">Choose at least one.</p>`}
    </fieldset>
    ${b&&t`<fieldset><legend>Names</legend>
      <${I} type="radio" name=${c} checked=${l} onChange=${()=>$(!0)} hint="By the ID that each image was sent with">As they were sent, with folders<//>
      <${I} type="radio" name=${c} checked=${!l} onChange=${()=>$(!1)} hint="Names that occur twice get a number">All in one folder<//>
    </fieldset>`}
    ${e.failed>0&&t`<p class="faint">${h(e.failed,"image has","images have")} no files. The list manifest.jsonl in the archive has the reasons.</p>`}
    <${v} error=${g} title="The download could not start" retry=${x} />
  <//>`}function ke({job:e,chosen:n,captions:s,onClose:a}){let o=G([e],"failed")+G([e],"cancelled"),l=[n.length>0&&["chosen",`The ${h(n.length,"selected image")}`,n],["all",U(e.total_images,e.total_images).replace(/^./,r=>r.toUpperCase()),e.images.map(r=>r.index)],o>0&&o<e.total_images&&["failed",`The ${h(o,"failed or cancelled image")}`,e.images.filter(r=>r.status==="failed").map(r=>r.index)]].filter(Boolean),[$,c]=C(l[0][0]),[d,g]=C("same"),f=[R(),R()],{busy:b,error:m,run:y,again:x}=O(),[,,i]=l.find(([r])=>r===$);return t`<${M} title="Process again" onClose=${a} footer=${t`
      <button type="button" onClick=${a}>Cancel</button>
      <button type="button" class="primary" disabled=${b} onClick=${()=>y("",J(e.job_id,"reprocess",{...i.length<e.total_images&&{images:i},...d!=="same"&&{captions:d==="yes"}},{text:`It processes ${U(i.length,e.total_images)} of an earlier job again.`,wanted:i.length}))}>${b?"Starting…":`Process ${h(i.length,"image")}`}</button>`}>
    <p>A new job processes the originals again. This job and its files stay as they are.</p>
    ${l.length>1&&t`<fieldset><legend>Images</legend>
      ${l.map(([r,k])=>t`<${I} key=${r} type="radio" name=${f[0]} checked=${$===r} onChange=${()=>c(r)}>${k}<//>`)}
    </fieldset>`}
    ${s&&t`<fieldset><legend>Captions</legend>
      <${I} type="radio" name=${f[1]} checked=${d==="same"} onChange=${()=>g("same")}>As before<//>
      <${I} type="radio" name=${f[1]} checked=${d==="yes"} onChange=${()=>g("yes")} hint=${t`A small copy of each image goes to <bdi>${s.host}</bdi>.`}>By the model <bdi>${s.model}</bdi><//>
      <${I} type="radio" name=${f[1]} checked=${d==="no"} onChange=${()=>g("no")} hint="No image of the new job leaves for a model.">Without a model<//>
    </fieldset>`}
    <${v} error=${m} title="The new job could not be made" retry=${x} />
  <//>`}function Ce({job:e,limits:n,caller:s,recordOf:a,chosen:o,dialog:l,onDialog:$}){let{busy:c,error:d,title:g,run:f,again:b}=O(),m=e.job_id,y=(...w)=>A=>{A.currentTarget.blur?.(),f(...w)},x=async()=>{let w=e.completed>0?`${h(z(e),"image that is","images that are")} not done will not be processed. The ${h(e.completed,"finished image")} and their files stay.`:"No image is done yet, so none will be processed. You can retry them later.";await B({title:"Cancel this job?",text:w,action:"Cancel the job",dismiss:"Let it run"})&&f("The job could not be cancelled",()=>me(m))};if(!_(e))return t`<div class="row actions"><button type="button" disabled=${c} onClick=${x}>Cancel the job…</button>
      <span class="faint">Downloads and retries are here when the job has ended.</span></div>
      <${v} error=${d} title=${g} retry=${b} />`;let i=n.captions&&s?.captions!==!1?n.captions:null,p=e.failed,r=[p>F(e)&&"failed",F(e)>0&&"cancelled"].filter(Boolean).join(" or "),k=e.images.some($e),u=e.images.filter(D.uncaptioned.passes).map(w=>w.index),P=e.images.filter(w=>a(m,w.index)?.captioned),xe=async()=>{let w=t`A new job processes ${h(u.length,"image")} again. A small copy of each goes to the model <bdi>${i.model}</bdi> at <bdi>${i.host}</bdi>. This job stays as it is.`;await B({title:"Ask the model again?",text:w,action:`Caption ${h(u.length,"image")}`,danger:!1})&&f("The new job could not be made",J(m,"reprocess",{images:u,captions:!0},{text:`It captions ${h(u.length,"image")} of an earlier job.`,wanted:u.length}))},Se=async()=>{let w=`A model wrote texts of ${h(P.length,"image")}. A new job makes all ${h(e.completed,"file")} again without them; texts of the files themselves stay. This job and its files stay as they are: download the new ones.`;if(!await B({title:"Remove the model's words?",text:w,action:"Make files without them",danger:!1}))return;let A=e.images.filter(W=>W.status==="completed").map(W=>W.index);f("The new job could not be made",J(m,"reprocess",{remove_captions:!0,...A.length<e.total_images&&{images:A}},{text:`It makes ${h(A.length,"file")} of an earlier job again, without a model's words.`,wanted:A.length}))},Te=async()=>{await E(m,{what:"jsonl"}),T("The download has started")};return t`<div class="row actions">
      ${e.completed>0&&t`<button type="button" class="primary" onClick=${()=>$("zip")}>ZIP…</button>`}
      <button type="button" disabled=${c} title="One line of JSON for each image" onClick=${y("The download could not start",Te)}>JSONL</button>
      ${k&&t`<button type="button" disabled=${c} onClick=${y("The new job could not be made",J(m,"retry",void 0,{text:`It retries ${h(p,"image")} of an earlier job.`,wanted:p}))}>Retry ${p} ${r}</button>`}
      <button type="button" onClick=${()=>$("reprocess")}>Reprocess…</button>
      ${i&&u.length>0&&t`<button type="button" disabled=${c} onClick=${xe}>Caption the ${u.length} missing…</button>`}
      ${P.length>0&&t`<button type="button" disabled=${c} onClick=${Se}>Remove model's words…</button>`}
    </div>
    ${p>0&&!k&&t`<p class="faint">A retry would fail again: the files themselves have to change.</p>`}
    ${u.length>0&&!i&&t`<p class="faint">${n.captions?"This API key keeps its images from every model":"Captions are off at this gateway"}, so the ${h(u.length,"missing caption")} cannot be made now.</p>`}
    <${v} error=${d} title=${g} retry=${b} />
    ${l==="zip"&&t`<${ye} job=${e} recordOf=${a} onClose=${()=>$("")} />`}
    ${l==="reprocess"&&t`<${ke} job=${e} chosen=${o} captions=${i} onClose=${()=>$("")} />`}`}function ve({params:{id:e},query:n,limits:s,caller:a}){let{job:o,connection:l,error:$,gone:c}=re(e),d=o&&q(o),g=!o||c?"":_(o)?`${_e(d.word)} · `:`${o.completed+o.failed}/${o.total_images} · `;Re(c?null:o);let f=t`<${ee} class="job-heading" title=${`${g}Job ${N(e)}`}>Job <span class="mono">${N(e)}</span>
    <${te} text=${e} label="Copy the job's ID" />${o&&!c&&t` <${Z} state=${{...d,word:_e(d.word)}} />`}<//>`;return c?t`${f}<${j} title=${o?"This job was deleted.":"There is no such job."}>
      ${o?"Jobs are deleted some time after their end, with their files.":"It was deleted, it belongs to another API key, or the address is not complete."} See the <a href=${S("jobs")}>list of jobs</a> or <a href=${S("new")}>send images</a>.<//>`:o?t`${f}
    <${Ae} job=${o} connection=${l} error=${$} />
    <${oe} job=${o} />
    <${De} job=${o} />
    <${Oe} job=${o} query=${n} limits=${s} caller=${a} />`:t`${f}<${v} error=${$} title="The job could not be read" />${!$&&t`<${ae} />`}`}var _e=e=>e.replace(/^./,n=>n.toUpperCase()),Ie={live:"Live",events:"Live, by events",polling:"Updated every 3 s",offline:"No connection: the last known state"};function Ae({job:e,connection:n,error:s}){let{label:a,upload:o,...l}=e.metadata??{},$=e.completed_at&&new Date(e.completed_at)-new Date(e.created_at);return t`<${v} error=${s?.status===401?s:null} />
    <p class="job-facts">${a&&t`<span><bdi class="job-label">${a}</bdi></span>`}<span><${ne} value=${e.created_at} /></span>
      ${_(e)?$>=1e3&&t`<span>took ${Q($)}</span>`:t`<span class="job-connection">${Ie[n]}</span>`}
      ${o&&t`<span><a href=${S("upload",{id:o})}>part of an upload</a></span>`}
      ${e.retry_of&&t`<span>made from job <a class="mono" href=${S("job",{id:e.retry_of})}>${N(e.retry_of)}</a></span>`}
      ${Object.entries(l).map(([c,d])=>t`<span key=${c}><bdi>${c}</bdi>: <bdi>${d}</bdi></span>`)}</p>
    ${_(e)&&t`<${Ne} id=${e.job_id} />`}`}var Je=10;function Ne({id:e}){let{data:n,reload:s}=se(async o=>(await Y("GET","api/v1/batch",{query:{retry_of:e,view:"summary",limit:Je},signal:o,background:!0})).data,[e]),a=n?.jobs??[];return ie(()=>a.some(o=>!_(o))&&s(),5e3),a.length===0?null:t`<p class="job-facts"><span>Processed again:</span>${a.map(o=>t`<span key=${o.job_id}><a class="mono" href=${S("job",{id:o.job_id})}>${N(o.job_id)}</a> <${Z} job=${o} /></span>`)}${n.next_page_token&&t`<span>and more</span>`}</p>`}function De({job:e}){let[,n]=C(0),s=ce(e.job_id);if(!s)return null;let a=s.wanted-e.total_images,o=()=>{de(e.job_id),n(l=>l+1)};return t`<div class=${`note ${a>0?"warn":"good"}`}><p><span class="note-title">This is a new job.</span> ${s.text}
    ${a>0&&` ${h(a,"image was","images were")} left out, because the gateway has no file of ${a===1?"it":"them"}: send ${a===1?"it":"them"} again.`}</p>
    <button type="button" class="plain icon" aria-label="Close" onClick=${o}><${V} name="close" /></button></div>`}function Oe({job:e,query:n,limits:s,caller:a}){let o=e.job_id,l=ue(e),$=pe([e]),[c,d]=C(new Set),[g,f]=C(""),b=n.get("show")??"all",m=b in D||b==="similar"?b:"all",y=_(e)&&e.total_images>1,x=m==="similar"?[]:L([e],m),i=e.images.filter(u=>c.has(he(o,u.index))).map(u=>u.index),p={selected:c,onSelect:y?d:void 0,query:m==="all"?{}:{show:m}},r=u=>d(new Set(u.map(P=>P.key))),k=L([e],"failed");return t`<${Ce} job=${e} limits=${s} caller=${a} recordOf=${$} chosen=${i} dialog=${g} onDialog=${f} />
    ${e.total_images>1&&t`<div class="row job-bar">
      <${le} jobs=${[e]} show=${m} href=${u=>S("job",{id:o},{show:u})} more=${[{name:"similar",word:"Similar",count:ge(l.groups)}]} />
      ${y&&i.length===0&&t`<span class="row job-select"><button type="button" class="plain" onClick=${()=>r(m==="similar"?L([e]):x)}>Select all</button>
        ${k.length>0&&t`<button type="button" class="plain" onClick=${()=>r(k)}>Select failed</button>`}</span>`}
    </div>`}
    ${m==="similar"?t`<${be} job=${e} similar=${l} ...${p} />`:t`<${fe} jobs=${[e]} filter=${m} ...${p}><${j} title=${`No image here: none is in “${D[m].word}”.`}><a href=${S("job",{id:o})}>Show all images</a><//><//>`}
    ${i.length>0&&t`<div class="selection" role="region" aria-label="Selection"><span>${h(i.length,"image")} selected</span>
      <button type="button" class="primary" onClick=${()=>f("reprocess")}>Reprocess…</button>
      ${k.length>0&&t`<button type="button" onClick=${()=>r(k)}>Select failed</button>`}
      <button type="button" onClick=${()=>d(new Set)}>Clear</button></div>`}`}var Pe=5e3;function Re(e){let n=X({id:"",ended:!0,time:0,failed:0});H(()=>{if(!e)return;let s=n.current,a={id:e.job_id,ended:_(e),time:Date.now(),failed:e.failed};s.id!==a.id?n.current=a:a.ended?(s.ended||T(`Job ${q(e).word}`),n.current=a):(a.time-s.time>=Pe||a.failed>s.failed)&&(T(`${e.completed} of ${e.total_images} done${e.failed?`, ${e.failed} failed`:""}, ${z(e)} open`),n.current=a)},[e])}export{ve as default};
