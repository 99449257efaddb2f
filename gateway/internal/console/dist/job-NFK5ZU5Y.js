import{C as f,D as u,E as p,L as c,N as h,g as t,h as d,j as s,s as i,v as m,x as a,y as b,z as $}from"./chunk-CJISUO2J.js";function x({params:r}){let{job:o,connection:e,error:n,gone:g}=h(r.id);return t`<${m} title=${`Job ${i(r.id)}`}>Job <span class="mono">${i(r.id)}</span> <${a} text=${r.id} label="Copy the job's ID" /><//>
    <${f} error=${n} title=${g?"This job is not there":""} />
    ${!o&&!n&&t`<${u} />`}
    ${o&&t`<p><${$} job=${o} /> <${p} value=${o.created_at} /> <small>${e}</small></p>
      <${b} job=${o} />
      <ul class="list">${o.images.map(l=>t`<${j} key=${l.index} id=${r.id} image=${l} />`)}</ul>`}`}function j({id:r,image:o}){let e=s(o.status==="completed"?d(r,`images/${o.index}/thumbnail`):"");return t`<li>${e&&t`<img src=${e} alt="" width="96" loading="lazy" />`}
    <a href=${c("viewer",{id:r,index:o.index})}><bdi>${o.original_filename}</bdi></a> <${$} image=${o} /> ${o.error&&t`<bdi>${o.error}</bdi>`}</li>`}export{x as default};
